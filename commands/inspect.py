"""`segship inspect`: what a file is."""

from __future__ import annotations

import json

import click

from ..common.cli_options import SIZE, json_option, settings_option
from .shared import console


@click.command()
@click.argument("source", metavar="CHECKPOINT|ARTIFACT")
@click.option("--size", type=SIZE, help="Count GMACs at this size (the contract's).")
@settings_option
@click.option("--save", is_flag=True, help="Keep what --set says beside SOURCE, for every command.")
@json_option
def inspect(
    source: str,
    size: tuple[int, int] | None,
    settings: tuple[str, ...],
    save: bool,
    as_json: bool,
) -> None:
    """Say what a file is: flavour, variant, cost, classes, preprocessing.

    What no file says (LayerNorm eps, mean and std, class names) is decided by its flavour and
    shown; --set corrects it here, --save for good, in SOURCE.segship.yaml.

    Example: segship inspect best.pth --set mean=0.485,0.56,0.406 --set classes=road,car --save
    """
    from ..benchmark.inspection import inspect as inspect_source
    from ..models.checkpoints.settings import keep_settings, parse_settings
    from ..reports.inspect_table import print_inspection

    stated = parse_settings(settings)
    found = inspect_source(source, size, settings=stated)
    if save:
        click.echo(f"kept for every command: {keep_settings(source, stated)}", err=True)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        print_inspection(found, console())
