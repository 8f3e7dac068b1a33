"""Boundary F-scores and accuracy on damaged images as tables."""

from __future__ import annotations

from ..benchmark.record import Measurement, Record
from ..benchmark.robustness import Corrupted
from .classes import class_name
from .format import ABSENT, interval, percent, points
from .sheet import Cell, Sheet


def boundary_sheet(record: Record) -> Sheet | None:
    """Lay out the boundary F-scores, one column per measurement; None where there are none."""
    items = [
        (item, item.accuracy.boundary)
        for item in record.measurements
        if item.accuracy and item.accuracy.boundary
    ]
    if not items:
        return None
    first = items[0][1]
    rows = [(Cell("mean"), *(Cell(percent(found.mean)) for _, found in items))]
    for index in range(len(first.f)):
        scores = (Cell(percent(found.f[index])) for _, found in items)
        rows.append((Cell(class_name(record, index)), *scores))
    return Sheet(
        key="boundary",
        title="Boundary F-score",
        sentence=f"Boundaries met within {first.tolerance}; {first.rule}.",
        heads=(("class", ""), *((item.name, "%") for item, _ in items)),
        rows=tuple(rows),
    )


def corruption_sheet(record: Record) -> Sheet | None:
    """Lay out the accuracies on damaged images; None where there are none."""
    pairs = [(item, found) for item in record.measurements for found in item.corruptions]
    if not pairs:
        return None
    order = {(found.kind, found.strength): place for place, (_, found) in enumerate(pairs[::-1])}
    pairs.sort(key=lambda pair: -order[pair[1].kind, pair[1].strength])  # rivals side by side
    rules = {found.kind: found.rule for _, found in pairs}
    return Sheet(
        key="corruptions",
        title="Damaged images",
        sentence=(
            f"The same images, damaged at their stored size with seed {record.protocol.seed}. Lost "
            "is against undamaged images, behind is against the baseline on the same damaged ones."
        ),
        heads=(
            *(("damage", ""), ("measurement", ""), ("strength", "")),
            *(("mIoU", "%"), ("lost", "points"), ("behind", "points"), ("interval", "points")),
        ),
        rows=tuple(_row(*pair) for pair in pairs),
        notes=tuple(f"{kind}: {rule}." for kind, rule in rules.items()),
        words=2,
    )


def _row(item: Measurement, found: Corrupted) -> tuple[Cell, ...]:
    known = found.low is not None and found.high is not None
    texts = (
        *(found.kind, item.name, f"{found.strength:g}"),
        *(percent(found.miou), points(found.drop), points(found.beside_baseline)),
        interval(found.low or 0.0, found.high or 0.0) if known else ABSENT,
    )
    return tuple(Cell(text) for text in texts)
