"""What is plotted against time: measurements of a record, or the trials of a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..benchmark.price import Search
from ..benchmark.record import Measurement, Record
from .columns import drop_text
from .format import ABSENT, agreement, milliseconds, percent, points, ratio


@dataclass(frozen=True)
class Point:
    """One place in the plot; `miou` and `ends` (its interval) are fractions of 1.

    `lines` are what a pointer reads below the name.
    """

    key: str
    name: str
    time_ms: float
    miou: float
    ends: tuple[float, float] | None
    baseline: bool
    lines: tuple[str, ...]

    @property
    def title(self) -> str:
        """The name with its two coordinates."""
        return f"{self.name}: {milliseconds(self.time_ms)} ms, {percent(self.miou)} % mIoU"


def record_points(record: Record, prefix: str = "") -> tuple[Point, ...]:
    """Return the measurements that have both a time and a mIoU; `prefix` goes before their keys."""
    return tuple(
        Point(
            f"{prefix}{key}",
            item.name,
            item.latency.median_ms,
            item.accuracy.miou,
            _ends(item),
            item.name == record.baseline,
            tuple(_lines(item)),
        )
        for key, item in enumerate(record.measurements, 1)
        if item.latency and item.accuracy
    )


def trial_points(search: Search) -> tuple[Point, ...]:
    """Return the trials of a search at the speed they gained over their own float runs.

    Trials are timed in pairs with the float graph; its median over all pairs divided by a trial's
    speed-up places them on one axis, free of what the machine did between the pairs.
    """
    float_ms = sorted(item.float_ms for item in search.trials)[len(search.trials) // 2]
    return tuple(
        Point(
            str(key),
            item.name,
            float_ms / item.speedup,
            item.miou,
            None,
            not item.parts,
            (
                f"{ratio(item.speedup)} the float graph{', within noise' * item.doubtful}",
                f"mIoU {percent(item.miou)} %, drop {points(item.miou_drop)} points",
                f"{len(item.parts)} parts in INT8; {'chosen' * (item.name == search.chosen)}"
                f"{'loses too much' * (not item.kept)}".rstrip("; "),
            ),
        )
        for key, item in enumerate(search.trials, 1)
        if item.speedup > 0
    )


def frontier(shown: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that no other one beats in both time and mIoU, fastest first."""
    found: list[Point] = []
    for point in sorted(shown, key=lambda item: (item.time_ms, -item.miou)):
        if not found or point.miou > found[-1].miou:
            found.append(point)
    return tuple(found)


def budget_miou(record: Record, max_miou_drop: float | None) -> float | None:
    """Return the least mIoU within the budget: the one asked for, else the search's own."""
    limit = max_miou_drop
    if limit is None and record.search:
        limit = record.search.max_miou_drop
    accuracy = record.measurement(record.baseline).accuracy
    return None if limit is None or accuracy is None else accuracy.miou - limit


def _ends(item: Measurement) -> tuple[float, float] | None:
    """Return the interval of the mIoU: the drop's interval hung on the baseline's mIoU."""
    if item.accuracy is None or item.accuracy.drop is None:
        return None
    drop = item.accuracy.drop
    reference = item.accuracy.miou + drop.miou
    return reference - drop.high, reference - drop.low


def _lines(item: Measurement) -> Iterator[str]:
    if item.latency:
        speed = f", {ratio(item.speedup)}" if item.speedup is not None else ""
        yield f"{milliseconds(item.latency.median_ms)} ms median{speed}"
    if item.accuracy:
        yield f"mIoU {percent(item.accuracy.miou)} %"
    if drop_text(item) != ABSENT:
        yield f"drop {drop_text(item)} points"
    share = item.accuracy.pixel_agreement if item.accuracy else None
    if share is not None:
        yield f"{agreement(share)} % of pixels agree"
    yield f"{item.runtime}, {item.precision}"
