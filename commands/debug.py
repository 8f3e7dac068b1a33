"""`segship debug`: where two artifacts part ways."""

from __future__ import annotations

import json
from typing import Any

import click

from ..common.cli_options import COUNT, json_option
from .shared import console


@click.command("debug")
@click.argument("a")
@click.argument("b")
@click.option("--data", required=True, metavar="SPEC", help="FORMAT:PATH[@SPLIT].")
@click.option("--images", type=COUNT, default=8, show_default=True, help="How many of it.")
@click.option("--threshold", type=float, default=20.0, show_default=True, metavar="DB",
              help="A part with more noise of its own than this counts as broken.")  # fmt: skip
@click.option("--threads", type=COUNT, metavar="N", help="Threads (all physical cores).")
@json_option
def debug_command(a: str, b: str, threshold: float, as_json: bool, **options: Any) -> None:
    """Name the part where B parts from A, and the first NaN or Inf.

    A and B are ONNX files or checkpoints of one model. Every part is judged by what it makes of
    A's own values, so that it is not blamed for noise that reached it.

    Example: segship debug model.onnx int8.onnx --data camvid:../camvid@val
    """
    from ..benchmark.debug import debug
    from ..reports.debug_table import print_debug

    found = debug(a, b, threshold_db=threshold, **options)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        print_debug(found, console())
