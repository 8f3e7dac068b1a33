"""`segship report`: a saved record, rendered again."""

from __future__ import annotations

from pathlib import Path

import click

from ..common.cli_options import FILE


@click.command()
@click.argument("records", nargs=-1, required=True, metavar="RECORD.json", type=FILE)
@click.option("-o", "--out", type=FILE, required=True, help="report.html or report.md.")
def report(records: tuple[Path, ...], out: Path) -> None:
    """Render a saved record again, as HTML or Markdown by the suffix.

    Example: segship report record.json -o report.html
    """
    from ..reports.write import write_report

    click.echo(f"report: {write_report(records, out)}")
