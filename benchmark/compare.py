"""Two records side by side: what changed, and which differences are more than noise.

Times are ranked by their raw samples, accuracies by intervals; nothing is ranked across hosts,
protocols or data. A run of its own shifts every time a little: where both records hold artifacts
that did not change, theirs is the shift a difference has to exceed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..common.errors import InputError
from .compare_accuracy import MiouShift, miou_shift
from .compare_settings import (
    Change,
    accuracy_barriers,
    measurement_changes,
    run_changes,
    shape_barriers,
    time_barriers,
)
from .ranks import MINIMUM, RankTest, rank_test
from .record import Measurement, Record, Samples

SIGNIFICANCE = 0.01
_SAME = ("sha256", "runtime", "precision", "threads", "batch", "input_shape")


@dataclass(frozen=True)
class TimeShift:
    """Medians (ms), the rank test, and what it amounts to; `reason` says why."""

    old_ms: float
    new_ms: float
    verdict: str  # "faster", "slower" (with "?": runs may differ as much), "noise", "machine" …
    reason: str
    test: RankTest | None = None


@dataclass(frozen=True)
class Pair:
    """One artifact in both records; None is what a record did not measure."""

    old: Measurement
    new: Measurement
    changes: tuple[Change, ...]
    latency: TimeShift | None
    miou: MiouShift | None


@dataclass(frozen=True)
class Comparison:
    """The new record against the old one. `time_barriers` and the like say what is not ranked."""

    changes: tuple[Change, ...]
    time_barriers: tuple[str, ...]
    accuracy_barriers: tuple[str, ...]
    pairs: tuple[Pair, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]


def compare(old: Record, new: Record) -> Comparison:
    """Return what changed from `old` to `new`, and which changes are more than noise.

    Raises:
        InputError: the records have no artifact in common, by name, content or being alone.
    """
    matched = _match(old.measurements, new.measurements)
    if not matched:
        raise InputError(
            "Expected an artifact in both records, by name or content, but there is none: give "
            "records of the same artifacts."
        )
    barriers = (time_barriers(old, new), accuracy_barriers(old, new))
    libraries = old.environment.libraries == new.environment.libraries
    pairs = [
        Pair(
            first,
            second,
            measurement_changes(first, second),
            _latency(first, second, barriers[0]),
            miou_shift(old, new, (first, second), barriers[1]),
        )
        for first, second in matched
    ]
    known = ({item.old.name for item in pairs}, {item.new.name for item in pairs})
    return Comparison(
        run_changes(old, new),
        *barriers,
        pairs=_against_the_machine(pairs, libraries),
        only_old=tuple(item.name for item in old.measurements if item.name not in known[0]),
        only_new=tuple(item.name for item in new.measurements if item.name not in known[1]),
    )


def _match(
    old: Sequence[Measurement], new: Sequence[Measurement]
) -> list[tuple[Measurement, Measurement]]:
    """Return pairs by name, then by content and runtime, then the one left over in each."""
    left, found = list(new), []
    unmatched = list(old)
    for rule in (_same_name, unchanged):
        for item in list(unmatched):
            other = next((other for other in left if rule(item, other)), None)
            if other is not None:
                found.append((item, other))
                unmatched.remove(item)
                left.remove(other)
    if len(old) == len(new) == 1 and not found:
        found = [(old[0], new[0])]
    order = {item.name: index for index, item in enumerate(old)}
    return sorted(found, key=lambda pair: order[pair[0].name])


def _same_name(old: Measurement, new: Measurement) -> bool:
    return old.name == new.name


def unchanged(old: Measurement, new: Measurement) -> bool:
    """Say whether both are one file, run in the same way."""
    return all(getattr(old, name) == getattr(new, name) for name in _SAME)


def _latency(old: Measurement, new: Measurement, barriers: tuple[str, ...]) -> TimeShift | None:
    """Rank the raw latencies; the machine's own shift comes later."""
    if old.latency is None or new.latency is None:
        return None
    barriers += shape_barriers(old, new)
    medians = (old.latency.median_ms, new.latency.median_ms)
    if barriers:
        return TimeShift(*medians, "not ranked", "; ".join(barriers))
    few = min(len(item.samples_ms) for item in (old.latency, new.latency))
    if few < MINIMUM:
        return TimeShift(*medians, "not ranked", f"only {few} samples, {MINIMUM} are needed")
    return _ranked(old.latency, new.latency)


def _ranked(old: Samples, new: Samples) -> TimeShift:
    test = rank_test(old.samples_ms, new.samples_ms)
    medians = (old.median_ms, new.median_ms)
    if test.p_value >= SIGNIFICANCE or test.low <= 1 <= test.high:
        return TimeShift(*medians, "noise", f"rank test p = {test.p_value:.2g}", test)
    verdict = "slower" if test.ratio > 1 else "faster"
    return TimeShift(*medians, verdict, f"rank test p = {test.p_value:.1g}", test)


def _against_the_machine(pairs: Sequence[Pair], same_libraries: bool) -> tuple[Pair, ...]:
    """Judge each shift by that of artifacts that did not change."""
    still = [item for item in pairs if same_libraries and unchanged(item.old, item.new)]
    return tuple(
        replace(
            item,
            latency=_beside(item.latency, [one for one in still if one is not item], item in still),
        )
        for item in pairs
    )


def _beside(shift: TimeShift | None, controls: Sequence[Pair], is_still: bool) -> TimeShift | None:
    if shift is None or shift.test is None or shift.verdict == "noise":
        return shift
    if is_still:
        return replace(
            shift, verdict="machine", reason="nothing of it changed, so the run itself differs"
        )
    tests = [item.latency.test for item in controls if item.latency and item.latency.test]
    if not tests:
        return replace(
            shift,
            verdict=f"{shift.verdict}?",
            reason=f"{shift.reason}; no unchanged artifact in both tells how much runs differ",
        )
    low = min(1.0, *(item.low for item in tests))
    high = max(1.0, *(item.high for item in tests))
    span = f"unchanged artifacts moved {low:.3f}× to {high:.3f}×"
    if shift.test.low <= high and shift.test.high >= low:
        return replace(shift, verdict="noise", reason=span)
    return replace(shift, reason=f"{shift.reason}; {span}")
