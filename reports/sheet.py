"""A further table of a record, drawn alike in the terminal, in Markdown and in HTML."""

from __future__ import annotations

from dataclasses import dataclass

from ..benchmark.record import Record


@dataclass(frozen=True)
class Cell:
    """A text and, in HTML, a bar behind it: `length` in per cent, `tone` names its colour."""

    text: str
    length: float | None = None
    tone: str = "middle"


@dataclass(frozen=True)
class Sheet:
    """A titled table; the first `words` columns hold text, `heads` are (heading, unit) of all."""

    key: str  # its anchor
    title: str
    sentence: str
    heads: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    words: int = 1


def sheets(record: Record) -> tuple[Sheet, ...]:
    """Return the further tables `record` has values for, in reading order."""
    from .ledger_table import ledger_sheet
    from .robustness_table import boundary_sheet, corruption_sheet
    from .sensitivity_table import part_sheet, trial_sheet

    found = [item for item in (boundary_sheet(record), corruption_sheet(record)) if item]
    if record.ledger:
        found.append(ledger_sheet(record.ledger))
    if record.search:
        found.append(trial_sheet(record.search))
    if record.sensitivity:
        found.append(part_sheet(record.sensitivity))
    return tuple(found)
