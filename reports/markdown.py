"""A record as GitHub-flavoured Markdown, for a pull request or a note."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ..benchmark.record import Measurement, Record
from .classes import ClassTable, class_table, worst_class
from .column import Column
from .columns import all_warnings, groups
from .facts import Facts, artifact_facts, environment_facts, protocol_facts, title
from .format import ABSENT, timestamp
from .sheet import Sheet, sheets
from .verdict import judge

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&])")


def render_markdown(record: Record) -> str:
    """Return `record` as Markdown with the numbers of the terminal table and the HTML report.

    Raises:
        InputError: the record's baseline is not among its measurements.
    """
    verdict = judge(record)
    sentence = "".join(
        f"**{part.text}**" if part.strong else escape(part.text) for part in verdict.sentence
    )
    blocks = [f"# {escape(title(record))}", sentence]
    if verdict.rule:
        blocks.append(verdict.rule)
    blocks += _warnings(record)
    blocks += ["## Measurements", _measurements(record)]
    if record.protocol.evaluation:
        blocks.append(f"Scored so: {escape(record.protocol.evaluation)}.")
    table = class_table(record)
    if table:
        blocks += ["## Accuracy per class", *_classes(record, table)]
    for sheet in sheets(record):
        blocks += [f"## {escape(sheet.title)}", *sheet_blocks(sheet)]
    blocks += ["## Protocol", _facts(protocol_facts(record))]
    blocks += ["## Environment", _facts(environment_facts(record))]
    blocks += ["## Lineage", *_lineage(record)]
    blocks.append(f"segship {escape(record.segship_version)}, {escape(timestamp(record.created))}")
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, on one line.

    >>> escape("a|b <i>")
    'a\\\\|b \\\\<i\\\\>'
    """
    return _SPECIAL.sub(r"\\\1", re.sub(r"\s*[\r\n]\s*", " ", text))


def _warnings(record: Record) -> list[str]:
    lines = []
    for name, texts in all_warnings(record):
        lines += [f"> - {escape(name)}", *(f">   - {escape(text)}" for text in texts)]
    return ["\n".join(["> **Read these numbers with care**", ">", *lines])] if lines else []


def _measurements(record: Record) -> str:
    columns = [(group, column) for group in groups(record) for column in group.columns]
    heads = [("#", True)]
    for group, column in columns:
        prefix = f"{group.heading.lower()} " if group.heading in ("Frame", "Memory") else ""
        heads.append((f"{prefix}{column.heading} {column.unit}".strip(), column.numeric))
    rows = []
    for key, item in enumerate(record.measurements, 1):
        cells = [_cell(column, item) for _, column in columns]
        if item.name == record.baseline:
            cells[0] += " (baseline)"
        rows.append([str(key), *cells])
    return _table(heads, rows)


def _cell(column: Column, item: Measurement) -> str:
    text = column.text(item)
    return text if column.numeric else escape(text)


def _classes(record: Record, table: ClassTable) -> Iterator[str]:
    worst = [(item.name, worst_class(record, item)) for item in record.measurements]
    lines = [
        f"- {escape(name)} loses most in {escape(text)} points" for name, text in worst if text
    ]
    if lines:
        yield "\n".join(lines)
    heads = [("class", False), (f"{escape(table.baseline[1])} IoU %", True)]
    for _, name in table.candidates:
        heads += [(f"{escape(name)} IoU %", True), ("drop points", True)]
    rows = []
    for row in table.rows:
        cells = [text for cell in row.cells for text in (cell.iou, cell.drop)]
        rows.append([escape(row.title), row.iou, *cells])
    summary = f"IoU of {len(table.rows)} classes"
    yield f"<details>\n<summary>{summary}</summary>\n\n{_table(heads, rows)}\n\n</details>"


def sheet_blocks(sheet: Sheet) -> Iterator[str]:
    """Yield the blocks of a further table, without its title."""
    yield escape(sheet.sentence)
    heads = [
        (f"{heading} {unit}".strip(), index >= sheet.words)
        for index, (heading, unit) in enumerate(sheet.heads)
    ]
    yield _table(heads, [[escape(cell.text) for cell in row] for row in sheet.rows])
    if sheet.notes:
        yield "\n".join(f"- {escape(note)}" for note in sheet.notes)


def _lineage(record: Record) -> Iterator[str]:
    for artifact in artifact_facts(record):
        names = ", ".join(escape(name) for _, name in artifact.names)
        passes = [
            f"{index}. **{escape(note.name)}** {note.changed}"
            + "".join(f"; {escape(line)}" for line in note.notes)
            for index, note in enumerate(artifact.passes, 1)
        ]
        block = [f"<details>\n<summary>{_html(artifact.names)}</summary>", f"**{names}**"]
        block += [_facts(artifact.facts), *(["\n".join(passes)] if passes else []), "</details>"]
        yield "\n\n".join(block)


def _html(names: Iterable[tuple[int, str]]) -> str:
    """Return names for inside an HTML tag, where Markdown's escapes do not hold."""
    text = " ".join(", ".join(name for _, name in names).split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _facts(lines: Facts) -> str:
    return "\n".join(f"- {escape(label)}: {escape(text)}" for label, text in lines)


def _table(heads: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> str:
    marks = ["---:" if numeric else ":---" for _, numeric in heads]
    lines = [[head for head, _ in heads], marks, *rows]
    return "\n".join("| " + " | ".join(cell or ABSENT for cell in line) + " |" for line in lines)
