"""A record in the terminal: tables that fit 100 columns and need no colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..benchmark.record import Record
from .column import Column, Group
from .columns import APART, all_warnings, groups
from .facts import protocol_line
from .further_columns import DEPTH_METRICS
from .sheet import Sheet, sheets
from .verdict import judge

# characters; these columns may wrap, no other one does
_LEAST = {"name": 12, "drop": 14, **{heading: 9 for _, heading, _ in DEPTH_METRICS}}
_NARROWEST = 78  # characters both tables need; a terminal below wraps lines, but keeps digits


def print_record(record: Record, console: Console) -> None:
    """Print `record`: headline, tables, protocol, and its warnings last, where they are read.

    Raises:
        InputError: the record's baseline is not among its measurements.
    """
    verdict = judge(record)
    sentence = Text()
    for part in verdict.sentence:
        sentence.append(part.text, style="bold" if part.strong else "")
    console.print()
    console.print(sentence)
    if verdict.rule:
        console.print(Text(verdict.rule, style="dim"))
    shown = groups(record)
    first = [group for group in shown if group.heading in ("Artifact", "Accuracy")]
    apart = [[group] for group in shown if group.heading in APART]
    rest = [group for group in shown if group not in first and group.heading not in APART]
    width = _NARROWEST if console.width < _NARROWEST else None
    console.print(_table(record, _flat(first), width), crop=False)
    for chosen in (*apart, rest):
        if chosen:
            columns = [("", first[0].columns[0]), *_flat(chosen)]
            console.print(_table(record, columns, width), crop=False)
    for sheet in sheets(record):
        print_sheet(sheet, console)
    console.print(Text(protocol_line(record), style="dim"))
    console.print(Text(record.protocol.evaluation, style="dim"))
    for name, texts in all_warnings(record):
        console.print(Text(f"warning: {name}", style="bold"))
        for text in texts:
            console.print(Padding(Text(text), (0, 0, 0, 2)))


def print_sheet(sheet: Sheet, console: Console) -> None:
    """Print a further table under its title."""
    console.print(Text(sheet.title, style="bold"))
    console.print(Text(sheet.sentence, style="dim"))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, (heading, unit) in enumerate(sheet.heads):
        name = Text("\n".join(line for line in (heading, unit) if line))
        table.add_column(name, justify="right" if index >= sheet.words else "left", overflow="fold")
    for row in sheet.rows:
        table.add_row(*(Text(cell.text) for cell in row))
    console.print(table)
    for note in sheet.notes:
        console.print(Text(note))


def _flat(shown: Sequence[Group]) -> list[tuple[str, Column]]:
    """Return every column with its group's heading where the column's alone is not clear."""
    return [
        ("frame" if group.heading == "Frame" else "", _narrow(group, column))
        for group in shown
        for column in group.columns
    ]


def _narrow(group: Group, column: Column) -> Column:
    """Write the long headings of further accuracy below each other."""
    long = group.heading == "Further accuracy"
    return replace(column, heading=column.heading.replace(" ", "\n")) if long else column


def _table(record: Record, columns: Sequence[tuple[str, Column]], width: int | None) -> Table:
    table = Table(box=SIMPLE_HEAD, width=width, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("#", justify="right", no_wrap=True)
    for group, column in columns:
        table.add_column(
            Text("\n".join(line for line in (group, column.heading, column.unit) if line)),
            justify="right" if column.numeric else "left",
            vertical="top",
            no_wrap=column.heading not in _LEAST,
            overflow="fold",
            min_width=_LEAST.get(column.heading),
        )
    for key, item in enumerate(record.measurements, 1):
        cells = [Text(column.text(item)) for _, column in columns]
        if item.name == record.baseline:
            cells[0].append(" (baseline)")
        table.add_row(str(key), *cells)
    return table
