"""`segship compare`: two or more records, what changed and what is noise."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from ..common.cli_options import FILE
from ..common.cli_outputs import check_outputs
from .shared import console


@click.command()
@click.argument("records", nargs=-1, required=True, metavar="OLD.json NEW.json...", type=FILE)
@click.option("--json", "json_path", type=FILE, help="Write the comparisons as JSON.")
@click.option("--markdown", type=FILE, help="Write the tables as Markdown.")
def compare(records: tuple[Path, ...], json_path: Path | None, markdown: Path | None) -> None:
    """Compare records: what changed, and which differences are more than noise.

    Every further record is compared with the first. Times of different hosts or protocols, and
    accuracies on different data, are shown and not ranked.

    Example: segship compare monday.json friday.json
    """
    if len(records) < 2:
        raise click.UsageError("Give the old record and at least one new one.")
    check_outputs((json_path, markdown), records)
    from ..benchmark.compare import compare as compare_records
    from ..benchmark.record import load_record
    from ..common.files import write_text
    from ..reports.compare_table import comparison_markdown, print_comparison

    first, *others = ((str(path), load_record(path)) for path in records)
    found = [(name, compare_records(first[1], record)) for name, record in others]
    for name, item in found:
        print_comparison(first[0], name, item, console())
    if json_path:
        values = [{"old": first[0], "new": name, **asdict(item)} for name, item in found]
        write_text(json_path, json.dumps(values, indent=1, allow_nan=False) + "\n")
    if markdown:
        texts = [comparison_markdown(first[0], name, item) for name, item in found]
        write_text(markdown, "\n".join(texts))
    for path in (json_path, markdown):
        if path:
            click.echo(f"written: {path}")
