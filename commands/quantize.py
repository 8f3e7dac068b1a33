"""`segship quantize`: ONNX in fewer bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..common.cli_options import check_writable, json_option, refuse_given, settings_option
from ..common.cli_quantize import quantize_options
from .shared import aside, console


@click.command()
@click.argument("source", metavar="CHECKPOINT|ONNX")
@quantize_options
@settings_option
@json_option
@click.pass_context
def quantize(
    ctx: click.Context, /, source: str, out: Path, explain: bool, as_json: bool, **options: Any
) -> None:
    """Write an ONNX file in fewer bits, calibrated on real images.

    A checkpoint is scaled exactly and exported first; an ONNX file must be in float. --explain
    says per node what became of it and what that costs.

    Example: segship quantize my_checkpoint -o int8.onnx --precision int8 --data camvid:cv@train
    """
    files = {"json_path": options.pop("record")}
    files |= {name: options.pop(name) for name in ("html", "markdown")}
    check_writable(out, options["ranges"], *files.values())
    if options["evaluation"] is None:
        refuse_given(ctx, "Only --eval makes a record", "record", "html", "markdown")
    if options["precision"] != "mixed":
        refuse_given(ctx, "Only --precision mixed searches", "trials", "threads")
    if Path(source).suffix.lower() == ".onnx":
        names = ("size", "dynamic", "output", "input_", "opset")
        refuse_given(ctx, "An ONNX file keeps its form", *names)
    from ..optimize.quantize.quantize import quantize as quantize_source
    from ..reports.quantize_table import print_quantized

    report = quantize_source(source, out, say=aside, **_quantizing(options))
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=1, allow_nan=False))
    else:
        print_quantized(report, console(), explain=explain)
    if report.record is not None:
        from ..reports.write import write_record

        for path in write_record(report.record, **files):
            click.echo(f"written: {path}", err=True)
    report.refuse_drop()


def _quantizing(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `quantize` as the function behind it takes them."""
    from ..data.contract import InputKind, OutputKind
    from ..models.checkpoints.settings import parse_settings

    return {
        "settings": parse_settings(options.pop("settings")),
        "size_px": options.pop("size"),
        "output_kind": OutputKind(options.pop("output")),
        "input_kind": InputKind(options.pop("input_")),
        "scaling": not options.pop("no_scaling"),
        **options,
    }
