"""`segship build`: an ONNX file to a TensorRT engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..common.cli_build import build_options
from ..common.cli_options import check_writable, json_option, settings_option
from .shared import aside, console


@click.command()
@click.argument("source", metavar="ONNX")
@build_options
@settings_option
@json_option
def build(
    source: str,
    out: Path,
    layers: bool,
    settings: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Build a TensorRT engine for this machine's GPU, on TensorRT 8.5 to 11.

    Precision is what the graph says: `segship quantize` writes FP16 and INT8 into it. Beside the
    engine lies FILE.engine.json: contract, lineage, GPU and versions, checked before it is opened.

    Example: segship build int8.onnx -o int8.engine
    """
    check_writable(out)
    from ..models.checkpoints.settings import parse_settings
    from ..optimize.tensorrt.build import build as build_engine
    from ..reports.build_table import print_build

    given = {name: value for name, value in options.items() if value is not None}
    report = build_engine(source, out, settings=parse_settings(settings), say=aside, **given)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=1, allow_nan=False))
    else:
        print_build(report, console(), layers=layers)
