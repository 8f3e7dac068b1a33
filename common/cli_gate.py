"""The options of `segship gate`."""

from __future__ import annotations

import click

from .cli_options import FILE, Command, add_options

_OPTIONS = (
    click.option("--baseline", "baselines", type=FILE, multiple=True, metavar="RECORD",
                 help="What it is held against (the baseline inside RECORD). Repeat for runs."),
    click.option("--policy", type=FILE, metavar="gate.yaml",
                 help="Budgets (mIoU 0.5 and class 3 points; median, memory, file 5 %)."),
    click.option("--name", metavar="NAME", help="The measurement to gate, where there are more."),
    click.option("--baseline-name", metavar="NAME",
                 help="The baseline's measurement, where it has another name."),
    click.option("--remeasure", is_flag=True,
                 help="Time both files once more, in turns, on this machine."),
    click.option("--junit", type=FILE, help="Write JUnit XML."),
    click.option("--json", "json_path", type=FILE, help="Write the checks as JSON."),
    click.option("--markdown", type=FILE, help="Write a table for a pull request."),
    click.option("--github", is_flag=True, help="Print annotations for GitHub Actions."),
    click.option("--update", is_flag=True,
                 help="Make RECORD the baseline file, and say what changed. Exit code 0."),
    click.option("--reason", metavar="TEXT", help="Why --update accepts it; kept in the file."),
)  # fmt: skip  # one option per pair of lines


def gate_options(command: Command) -> Command:
    """Add what a gate compares, by which policy, and where it says so."""
    return add_options(command, _OPTIONS)
