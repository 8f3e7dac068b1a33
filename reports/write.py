"""One record, written in every form that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..benchmark.record import Record, load_record, save_record
from ..common.errors import InputError
from ..common.files import write_text


def write_record(
    record: Record,
    *,
    json_path: Path | None = None,
    html: Path | None = None,
    markdown: Path | None = None,
) -> tuple[Path, ...]:
    """Write `record` to the paths that are given and return them."""
    from .html import render_html
    from .markdown import render_markdown

    if json_path is not None:
        save_record(record, json_path)
    if html is not None:
        write_text(html, render_html(record))
    if markdown is not None:
        write_text(markdown, render_markdown(record))
    return tuple(path for path in (json_path, html, markdown) if path is not None)


def write_report(records: Sequence[Path], output: Path) -> Path:
    """Render the record in a JSON file again, as HTML or Markdown by the suffix of `output`.

    Raises:
        InputError: another suffix, no record, or several (different runs never merge).
    """
    if output.suffix not in (".html", ".md"):
        raise InputError(f"Expected an output ending in .html or .md, but got {output}.")
    if len(records) != 1:
        raise InputError(
            f"Expected one record, but got {len(records)}: records of different runs do not "
            "merge; measure the candidates in one run, or make one report per record."
        )
    record = load_record(records[0])
    kind = "html" if output.suffix == ".html" else "markdown"
    write_record(record, **{kind: output})
    return output
