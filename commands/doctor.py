"""`segship doctor`: what this machine can run."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from ..common.cli_options import json_option
from .shared import console


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine can run, and how to get the rest.

    Exits with 1 where something segship needs is missing or broken.

    Example: segship doctor
    """
    from ..reports.doctor_table import print_findings
    from ..runtimes.doctor import State
    from ..runtimes.doctor import doctor as examine

    findings = examine()
    if as_json:
        click.echo(json.dumps([asdict(item) for item in findings], indent=1))
    else:
        print_findings(findings, console())
    if any(item.state is State.PROBLEM for item in findings):
        raise click.exceptions.Exit(1)
