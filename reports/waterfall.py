"""The loss ledger drawn: a bar per step from the mIoU before it to the mIoU after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..benchmark.price import LedgerStep
from .axes import score_axis, tick_text
from .format import percent, points

_THINNEST = 0.4  # per cent of the width: a step that lost nothing is still seen


@dataclass(frozen=True)
class Fall:
    """One step: its bar in per cent of the width, `tone` names its colour."""

    step: str
    measurement: str
    miou: str
    drop: str
    start: float
    length: float
    tone: str


@dataclass(frozen=True)
class Waterfall:
    """The steps on one scale from `low` to `high` per cent of mIoU, the total last."""

    low: str
    high: str
    falls: tuple[Fall, ...]


def waterfall(steps: Sequence[LedgerStep]) -> Waterfall | None:
    """Lay out a ledger, or return None where it has fewer than two steps."""
    if len(steps) < 2:
        return None
    axis = score_axis([step.miou * 100 for step in steps], 0.0, 100.0, least=0.5)
    places = [axis.place(step.miou * 100) for step in steps]
    return Waterfall(
        tick_text(round(axis.low, 2)), tick_text(round(axis.high, 2)), tuple(_falls(steps, places))
    )


def _falls(steps: Sequence[LedgerStep], places: Sequence[float]) -> Iterator[Fall]:
    first, last = steps[0], steps[-1]
    yield Fall(first.step, first.measurement, percent(first.miou), "", 0.0, places[0], "middle")
    for step, before, after in zip(steps[1:], places, places[1:], strict=False):
        length = max(abs(after - before), _THINNEST)
        tone = "accent" if step.drop > 0 else "light"
        yield Fall(
            step.step,
            step.measurement,
            percent(step.miou),
            points(step.drop),
            min(before, after, 100 - length),
            length,
            tone,
        )
    total = points(first.miou - last.miou)
    yield Fall("total", "", percent(last.miou), total, 0.0, places[-1], "dark")
