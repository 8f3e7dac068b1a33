"""What `segship doctor` prints: one line per fact, advice below it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..runtimes.doctor import Finding, State

_STYLES = {State.OK: "green", State.NOTE: "yellow", State.MISSING: "dim", State.PROBLEM: "bold red"}


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print every finding; the state is a word, so that it needs no colour."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for item in findings:
        told = Text(item.found)
        if item.advice:
            told.append(f"\n{item.advice}", style="dim")
        table.add_row(Text(item.state.value, style=_STYLES[item.state]), Text(item.topic), told)
    console.print(table)
