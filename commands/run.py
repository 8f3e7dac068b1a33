"""`segship run`: a recipe from checkpoint to report."""

from __future__ import annotations

import click

from .shared import console


@click.command()
@click.argument("recipe", metavar="RECIPE.yaml")
@click.option("--resume", is_flag=True, help="Skip the steps whose inputs have not changed.")
def run(recipe: str, resume: bool) -> None:
    """Follow a recipe: checkpoint, exports, measurements, report.

    Example: segship run examples/demo/recipe.yaml --resume
    """
    from ..recipes.run import run_recipe
    from ..reports.table import print_record

    result = run_recipe(recipe, resume=resume, say=click.echo)
    print_record(result.record, console())
    click.echo(f"report: {result.report.resolve()}")
