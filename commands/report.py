"""`segship report`: saved records, rendered again."""

from __future__ import annotations

from pathlib import Path

import click

from ..common.cli_options import FILE
from ..common.cli_outputs import check_outputs


@click.command()
@click.argument("records", nargs=-1, required=True, metavar="RECORD.json...", type=FILE)
@click.option("-o", "--out", type=FILE, help="report.html or report.md.")
@click.option("--table", type=FILE, help="One row per model: .md, .tex or .csv.")
@click.option("--confusion", type=FILE, help="Confusion matrices of one record: .png or .csv.")
@click.option(
    "--max-miou-drop",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help="Draw this budget into the plots (that of the record's search).",
)
@click.option(
    "--attention",
    multiple=True,
    type=FILE,
    metavar="MODEL.onnx",
    help="Add the attention maps of this file; a second one stands beside the first.",
)
@click.option(
    "--network",
    multiple=True,
    type=FILE,
    metavar="MODEL.onnx",
    help="Add the precision of every part of this file (repeatable).",
)
@click.option("--photo", type=FILE, help="The image of the attention maps.")
def report(
    records: tuple[Path, ...],
    out: Path | None,
    table: Path | None,
    confusion: Path | None,
    max_miou_drop: float | None,
    attention: tuple[Path, ...],
    network: tuple[Path, ...],
    photo: Path | None,
) -> None:
    """Render saved records again, as HTML or Markdown by the suffix.

    Several records stand side by side in one HTML file, each with its own section.

    Example: segship report record.json other.json -o report.html
    """
    from ..benchmark.part_precision import part_precisions
    from ..reports.write import check_report, write_further, write_report

    if not (out or table or confusion):
        raise click.UsageError("Give an output: -o, --table or --confusion.")
    if bool(attention) != (photo is not None):
        raise click.UsageError("--attention and --photo go together.")
    drawn = (attention, network, max_miou_drop is not None)
    if any(drawn) and (out is None or out.suffix == ".md"):
        raise click.UsageError("Budget, --network and --attention are drawn in HTML: -o FILE.html.")
    check_report(records, out, table=table, confusion=confusion)
    check_outputs((out, table, confusion), (*records, *attention, *network, photo))
    parts = {str(path): part_precisions(path) for path in network}
    maps = None
    if photo is not None:
        from ..benchmark.attention import attention_maps

        maps = attention_maps(attention, photo)
    budget = None if max_miou_drop is None else max_miou_drop / 100
    further = write_further(records, table=table, confusion=confusion)
    if out is not None:
        path = write_report(records, out, max_miou_drop=budget, attention=maps, network=parts)
        click.echo(f"report: {path}")
    for path in further:
        click.echo(f"written: {path}")
