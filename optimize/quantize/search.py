"""Which parts become INT8 for the shortest time within a budget? A search that only asks.

What a set of parts costs and brings is measured by the caller; here is only the order of the
questions. The float graph is always the first trial, and the answer where nothing beats it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ...common.errors import InputError

if TYPE_CHECKING:
    from ...benchmark.price import PartPrice, Trial

Parts = tuple[str, ...]
Measure = Callable[[Parts], "Trial"]
_SMALLEST_LOSS = 1e-9  # nats per pixel; keeps the ratio finite where a part loses nothing
_PATIENCE = 3  # single changes without a gain before the search ends


def search(
    prices: Sequence[PartPrice], whole: Sequence[str], measure: Measure, *, trials: int
) -> tuple[tuple[Trial, ...], Trial]:
    """Return every trial in the order it was made, and the one to keep.

    First the float graph, then all of `whole`, then the parts that gain time alone. Where both
    lose too much, the parts are ranked by time gained per loss, and the longest row of the best
    that stays within the budget is found by bisection. What trials are left try single changes
    of the fastest set so far and, where nothing is faster than float, ever fewer parts.

    Args:
        prices: of every part that can be INT8, in forward order.
        whole: the parts the target's form quantizes.
        measure: builds and measures a set of parts; () is the float graph.
        trials: how many sets are measured at most.

    Raises:
        InputError: fewer than 2 trials.
    """
    if trials < 2:
        raise InputError(f"Expected 2 trials or more, but got {trials}.")
    made = _Made(prices, measure, trials)
    ranked = rank(prices, whole)
    floats = made.trial(())
    for parts in (tuple(whole), gaining(prices, whole)):
        made.trial(parts)
    if not any(item.kept and item.parts for item in made.found.values()):
        _bisect(made, ranked)
    _improve(made, prices, whole)
    if best(tuple(made.found.values())) is None:
        _narrow(made, prices, gaining(prices, whole))
    tried = tuple(made.found.values())
    return tried, best(tried) or floats or tried[0]


def best(trials: Sequence[Trial]) -> Trial | None:
    """Return the fastest trial within the budget that is surely faster than float, or None."""
    sure = [item for item in trials if item.kept and item.speedup > 1 and not item.doubtful]
    return max((item for item in sure if item.parts), key=lambda item: item.speedup, default=None)


def rank(prices: Sequence[PartPrice], whole: Sequence[str]) -> Parts:
    """Return `whole` with the parts first that gain most time per loss.

    Those that gain no time alone come last, the least loss first: between two quantized parts
    even such a part can be worth it.
    """

    def key(item: PartPrice) -> tuple[int, float]:
        gained_ms = item.saved_ms or 0.0
        return (0, -gained_ms / loss_of(item)) if gained_ms > 0 else (1, loss_of(item))

    return tuple(item.part for item in sorted(prices, key=key) if item.part in whole)


def gaining(prices: Sequence[PartPrice], whole: Sequence[str]) -> Parts:
    """Return the parts that gain time alone; those outside `whole` only where it is sure."""
    return tuple(
        item.part
        for item in prices
        if (item.saved_ms or 0.0) > 0 and (item.part in whole or not item.doubtful)
    )


def loss_of(item: PartPrice) -> float:
    """Return the loss that ranks a part: the divergence, or the squared error without classes."""
    found = item.mse if item.kl is None else item.kl
    return max(found or 0.0, _SMALLEST_LOSS)


class _Made:
    """The trials so far, by their parts in forward order."""

    def __init__(self, prices: Sequence[PartPrice], measure: Measure, limit: int) -> None:
        self.order = {item.part: index for index, item in enumerate(prices)}
        self.measure, self.limit = measure, limit
        self.found: dict[Parts, Trial] = {}

    def trial(self, parts: Sequence[str]) -> Trial | None:
        """Return the trial of a set, made now if there is one left."""
        key = tuple(sorted(set(parts), key=lambda part: self.order.get(part, -1)))
        if key not in self.found:
            if len(self.found) >= self.limit:
                return None
            self.found[key] = self.measure(key)
        return self.found[key]

    def fastest(self) -> Trial | None:
        """Return the fastest kept trial in INT8."""
        kept = [item for item in self.found.values() if item.kept and item.parts]
        return max(kept, key=lambda item: item.speedup, default=None)


def _bisect(made: _Made, ranked: Parts) -> None:
    """Try the longest row of the best parts that is kept."""
    low, high = 0, len(ranked)
    while high - low > 1:
        middle = (low + high) // 2
        trial = made.trial(ranked[:middle])
        if trial is None:
            return
        low, high = (middle, high) if trial.kept else (low, middle)


def _improve(made: _Made, prices: Sequence[PartPrice], whole: Sequence[str]) -> None:
    """Change single parts of the fastest set while that makes it faster."""
    failures = 0
    while failures < _PATIENCE:
        start = made.fastest()
        if start is None:
            return
        change = next(_changes(made, start.parts, prices, whole), None)
        trial = None if change is None else made.trial(change)
        if trial is None:
            return
        better = trial.kept and trial.speedup > start.speedup
        failures = 0 if better else failures + 1


def _narrow(made: _Made, prices: Sequence[PartPrice], parts: Parts) -> None:
    """Try the half, the quarter … of `parts` that gains most time alone."""
    saved_ms = {item.part: item.saved_ms or 0.0 for item in prices}
    left = sorted(parts, key=lambda part: -saved_ms[part])
    while len(left) > 1:
        left = left[: len(left) // 2]
        if made.trial(left) is None:
            return


def _changes(
    made: _Made, parts: Parts, prices: Sequence[PartPrice], whole: Sequence[str]
) -> Iterator[Parts]:
    """Yield untried sets that differ in one part, the greatest time to win first."""
    for item in sorted(prices, key=lambda item: -abs(item.saved_ms or 0.0)):
        gained_ms = item.saved_ms or 0.0
        inside = item.part in parts
        useful = gained_ms < 0 if inside else gained_ms > 0
        if not useful or (not inside and item.part not in whole and item.doubtful):
            continue
        others = tuple(part for part in parts if part != item.part)
        changed = others if inside else (*parts, item.part)
        key = tuple(sorted(changed, key=lambda part: made.order.get(part, -1)))
        if key and key not in made.found:
            yield key
