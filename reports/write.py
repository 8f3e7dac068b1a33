"""Records, written in every form that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..benchmark.record import Record, load_record, save_record
from ..common.errors import InputError
from ..common.files import write_text

if TYPE_CHECKING:
    from ..benchmark.attention import AttentionMaps


def write_record(
    record: Record,
    *,
    json_path: Path | None = None,
    html: Path | None = None,
    markdown: Path | None = None,
    confusion: Path | None = None,
    table: Path | None = None,
) -> tuple[Path, ...]:
    """Write `record` to the paths that are given and return them.

    Raises:
        InputError: the suffix of `confusion` (.png, .csv) or `table` (.md, .tex, .csv) is another,
            or nothing was scored.
    """
    from .confusion_file import write_confusion
    from .html import render_html
    from .markdown import render_markdown
    from .model_table import write_model_table

    if json_path is not None:
        save_record(record, json_path)
    if html is not None:
        write_text(html, render_html(record))
    if markdown is not None:
        write_text(markdown, render_markdown(record))
    if confusion is not None:
        write_confusion(record, confusion)
    if table is not None:
        write_model_table([record], table)
    paths = (json_path, html, markdown, confusion, table)
    return tuple(path for path in paths if path is not None)


def check_report(
    records: Sequence[Path],
    output: Path | None = None,
    *,
    table: Path | None = None,
    confusion: Path | None = None,
) -> None:
    """Refuse outputs that no such file can be, before any of them is written.

    Raises:
        InputError: another suffix, or more records than the file takes.
    """
    from .confusion_file import check_confusion_path
    from .model_table import check_table_path

    check_table_path(table)
    check_confusion_path(confusion)
    if output is not None and output.suffix not in (".html", ".md"):
        raise InputError(f"Expected an output ending in .html or .md, but got {output}.")
    if output is not None and output.suffix == ".md" and len(records) != 1:
        raise InputError(
            f"Expected one record for Markdown, but got {len(records)}: several stand side by "
            "side in .html only."
        )
    if confusion is not None and len(records) != 1:
        raise InputError(
            f"Expected one record for confusion matrices, but got {len(records)}: one each."
        )


def write_report(
    records: Sequence[Path],
    output: Path,
    *,
    max_miou_drop: float | None = None,
    attention: AttentionMaps | None = None,
    network: Mapping[str, Mapping[str, str]] | None = None,
) -> Path:
    """Render the records in JSON files again, as HTML or Markdown by the suffix of `output`.

    `max_miou_drop`, a fraction of 1, is the budget drawn into the HTML file's plots, `attention`
    a section in it, `network` one with the precision of the parts of files by name.

    Raises:
        InputError: another suffix, no record, or several for Markdown.
    """
    check_report(records, output)
    if max_miou_drop is not None and not 0 <= max_miou_drop <= 1:
        raise InputError(f"Expected a budget from 0 to 100 points, but got {100 * max_miou_drop}.")
    loaded = [load_record(path) for path in records]
    if output.suffix == ".md":
        write_record(loaded[0], markdown=output)
        return output
    from .html import render_records

    page = render_records(loaded, max_miou_drop=max_miou_drop, attention=attention, network=network)
    write_text(output, page)
    return output


def write_further(
    records: Sequence[Path], *, table: Path | None = None, confusion: Path | None = None
) -> tuple[Path, ...]:
    """Write the records' rows as `table`, and the confusion matrices of one as `confusion`.

    Raises:
        InputError: another suffix, several records for `confusion`, or records that do not fit
            one table.
    """
    from .confusion_file import scored, write_confusion
    from .model_table import write_model_table

    check_report(records, table=table, confusion=confusion)
    loaded = [load_record(path) for path in records] if table or confusion else []
    if confusion is not None:
        scored(loaded[0])  # refused before the table is written
    if table is not None:
        write_model_table(loaded, table)
    if confusion is not None:
        write_confusion(loaded[0], confusion)
    return tuple(path for path in (table, confusion) if path is not None)
