"""The loss ledger as a table: points of mIoU, step by step."""

from __future__ import annotations

from collections.abc import Sequence

from ..benchmark.price import LedgerStep
from .format import ABSENT, percent, points
from .sheet import Cell, Sheet


def ledger_sheet(steps: Sequence[LedgerStep]) -> Sheet:
    """Lay out a ledger; the last row is the sum."""
    largest = max((abs(item.drop) for item in steps), default=0.0)
    rows = [
        (
            Cell(item.step),
            Cell(item.measurement),
            Cell(percent(item.miou)),
            _drop(item.drop, largest) if index else Cell(ABSENT),
        )
        for index, item in enumerate(steps)
    ]
    total = steps[0].miou - steps[-1].miou
    rows.append((Cell("total"), Cell(""), Cell(percent(steps[-1].miou)), Cell(points(total))))
    return Sheet(
        key="ledger",
        title="Loss ledger",
        sentence="What each step from the checkpoint to the artifact lost: plus is a loss.",
        heads=(("step", ""), ("measurement", ""), ("mIoU", "%"), ("drop", "points")),
        rows=tuple(rows),
        words=2,
    )


def _drop(value: float, largest: float) -> Cell:
    length = 100 * abs(value) / largest if largest else 0.0
    return Cell(points(value), length, "accent" if value > 0 else "middle")
