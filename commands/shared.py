"""What several commands share: the console, candidates and scoring from options, the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..common.cli_outputs import check_outputs

if TYPE_CHECKING:
    from rich.console import Console

    from ..benchmark.candidate import Candidate
    from ..benchmark.record import Record
    from ..benchmark.scoring import Scoring


def aside(line: str) -> None:
    """Print a line beside the result, on stderr."""
    click.echo(line, err=True)


def console() -> Console:
    """Return the terminal tables go to."""
    from rich.console import Console

    return Console(highlight=False)


def take_candidates(artifacts: tuple[str, ...], options: dict[str, Any]) -> list[Candidate]:
    """Read the artifacts; those that name no runtime get `--runtime` and `--precision`."""
    from ..benchmark.candidate import read_candidates

    default = {name: options.pop(name) for name in ("runtime", "precision")}
    return read_candidates(artifacts, **default)


def take_scoring(options: dict[str, Any]) -> Scoring:
    """Take the protocol's options out of the options."""
    from ..benchmark.scoring import read_scoring

    names = "protocol crop stride flip at level exclude boundary corruptions".split()
    given = {name: options.pop(name) for name in names}
    return read_scoring(**{name: value for name, value in given.items() if value is not None})


def take_outputs(options: dict[str, Any]) -> dict[str, Any]:
    """Take the outputs out of the options: paths known to be writable, a tracker that answers."""
    from ..reports.confusion_file import check_confusion_path
    from ..reports.model_table import check_table_path

    names = ("json_path", "html", "markdown", "confusion", "table")
    outputs = {name: options.pop(name) for name in names}
    check_confusion_path(outputs["confusion"])
    check_table_path(outputs["table"])
    check_outputs(outputs.values())
    outputs["mlflow"] = options.pop("mlflow")
    if outputs["mlflow"]:
        from ..reports.mlflow_log import check_tracker

        check_tracker(outputs["mlflow"])
    return outputs


def deliver(record: Record, outputs: dict[str, Any]) -> None:
    """Print a record, write it to the files asked for and log it where asked."""
    from ..reports.table import print_record
    from ..reports.write import write_record

    print_record(record, console())
    tracker = outputs.pop("mlflow")
    written = write_record(record, **outputs)
    for path in written:
        click.echo(f"written: {path}")
    if tracker:
        from ..reports.mlflow_log import log_record

        click.echo(f"logged: {tracker}, run {log_record(record, tracker, written)}")
