"""The per-class table: IoU of the baseline, IoU and drop of every candidate, worst flagged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..benchmark.class_intervals import Interval, class_intervals
from ..benchmark.record import Accuracy, Measurement, Record
from .format import interval, percent, points

_MANY = 40  # with more classes a report leads with those that lost most
_LEADING = 15


@dataclass(frozen=True)
class ClassCell:
    """A candidate's IoU of one class; `length` is the drop's bar, 0..100, of the largest drop."""

    iou: str
    drop: str
    length: float
    lost: bool
    worst: bool
    interval: str = ""  # of the drop, "" where the record has no counts per image


@dataclass(frozen=True)
class ClassRow:
    """One class: colour as "#rrggbb" or "", the baseline's IoU (0..100 for the bar), the cells.

    `note` says where the class is not in the mean.
    """

    index: int
    name: str
    colour: str
    iou: str
    length: float
    cells: tuple[ClassCell, ...]
    note: str = ""

    @property
    def title(self) -> str:
        """The name with the note behind it."""
        return f"{self.name} ({self.note})" if self.note else self.name


@dataclass(frozen=True)
class ClassTable:
    """All classes in record order; `leading` are those that lost most where there are many."""

    baseline: tuple[int, str]
    candidates: tuple[tuple[int, str], ...]
    rows: tuple[ClassRow, ...]
    leading: tuple[ClassRow, ...]

    @property
    def intervals(self) -> bool:
        """Say whether any drop has an interval."""
        return any(cell.interval for row in self.rows for cell in row.cells)


def class_name(record: Record, index: int) -> str:
    """Return the name of class `index`, or its number where the record has none."""
    return record.classes[index] if index < len(record.classes) else f"class {index}"


def class_colour(record: Record, index: int) -> str:
    """Return the colour of class `index` as "#rrggbb", or "" where the record has none."""
    if index >= len(record.palette):
        return ""
    return "#{:02x}{:02x}{:02x}".format(*record.palette[index])


def class_table(record: Record, *, intervals: bool = False) -> ClassTable | None:
    """Lay out the per-class results, or return None where the baseline's accuracy is missing.

    `intervals` adds those of the drops, resampled from the counts per image.

    Raises:
        InputError: those counts are damaged.
    """
    keyed = list(enumerate(record.measurements, 1))
    base = next((pair for pair in keyed if pair[1].name == record.baseline), None)
    if base is None or base[1].accuracy is None:
        return None
    others = [(key, item) for key, item in keyed if item.name != record.baseline and item.accuracy]
    scores = [item.accuracy for _, item in others if item.accuracy]
    found = [
        class_intervals(base[1].accuracy, score, seed=record.protocol.seed) if intervals else ()
        for score in scores
    ]
    rows = tuple(_rows(record, base[1].accuracy, scores, found))
    return ClassTable(
        baseline=(base[0], base[1].name),
        candidates=tuple((key, item.name) for key, item in others),
        rows=rows,
        leading=_leading(rows, scores) if len(rows) > _MANY and scores else (),
    )


def worst_class(record: Record, item: Measurement) -> str:
    """Write the class that lost most with its drop, or "" where none lost anything visible."""
    index = _worst(item.accuracy) if item.accuracy else None
    if index is None or item.accuracy is None:
        return ""
    return f"{class_name(record, index)} {points(item.accuracy.iou_drop[index])}"


def _rows(
    record: Record,
    base: Accuracy,
    scores: Sequence[Accuracy],
    found: Sequence[Sequence[Interval | None]],
) -> Iterator[ClassRow]:
    largest = max((abs(d) for s in scores for d in s.iou_drop if d is not None), default=0.0)
    worst = [_worst(score) for score in scores]
    for index, iou in enumerate(base.iou):
        cells = (
            _cell(score, index, largest, _interval(known, index), worst=index == at)
            for score, at, known in zip(scores, worst, found, strict=True)
        )
        yield ClassRow(
            index,
            class_name(record, index),
            class_colour(record, index),
            percent(iou),
            100 * (iou or 0.0),
            tuple(cells),
            "not in the mean" if index in base.excluded else "",
        )


def _interval(known: Sequence[Interval | None], index: int) -> str:
    ends = known[index] if index < len(known) else None
    return interval(*ends) if ends else ""


def _cell(score: Accuracy, index: int, largest: float, ends: str, *, worst: bool) -> ClassCell:
    iou = score.iou[index] if index < len(score.iou) else None
    drop = _drop(score, index)
    length = 100 * abs(drop) / largest if drop is not None and largest > 0 else 0.0
    visible = points(drop) not in (points(None), points(0.0))
    lost = drop is not None and drop > 0
    return ClassCell(percent(iou), points(drop), length if visible else 0.0, lost, worst, ends)


def _drop(score: Accuracy, index: int) -> float | None:
    return score.iou_drop[index] if index < len(score.iou_drop) else None


def _worst(score: Accuracy) -> int | None:
    """Return the class of those in the mean with the largest visible drop."""
    drops = [(drop, i) for i, drop in enumerate(score.iou_drop) if i not in score.excluded]
    lost = [(drop, i) for drop, i in drops if drop is not None and drop > 0]
    if not lost or points(max(lost)[0]) == points(0.0):
        return None
    return max(lost)[1]


def _leading(rows: tuple[ClassRow, ...], scores: Sequence[Accuracy]) -> tuple[ClassRow, ...]:
    def largest(row: ClassRow) -> float:
        return max((_drop(score, row.index) or 0.0 for score in scores), default=0.0)

    return tuple(sorted(rows, key=largest, reverse=True)[:_LEADING])
