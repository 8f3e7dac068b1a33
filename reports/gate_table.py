"""What `segship gate` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ..benchmark.gate.outcome import GateResult, Status
from .gate_words import budget, change, quantity, sentence, value, verdict

if TYPE_CHECKING:
    from rich.console import Console

_HEADS = ("", "", "baseline", "candidate", "worse by", "budget")
_WORDS = {Status.PASS: "pass", Status.WARN: "warn", Status.FAIL: "FAIL", Status.CANNOT: "CANNOT"}


def print_gate(result: GateResult, console: Console) -> None:
    """Print the verdict, one row per budget, and a line for each that did not plainly pass."""
    console.print(Text(_line(verdict(result)), style="bold"), soft_wrap=True)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, head in enumerate(_HEADS):
        table.add_column(head, justify="left" if index < 2 else "right", no_wrap=index != 4)
    for check in result.checks:
        values = (value(number, check.unit) for number in (check.baseline, check.candidate))
        row = (_WORDS[check.status], quantity(check), *values, change(check), budget(check))
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
    for check in result.checks:
        passed = check.status is Status.PASS
        line = f"{quantity(check)}: {check.how}." if passed else sentence(check)
        console.print(Text(_line(line), style="dim" if passed else ""), soft_wrap=True)
    for note in result.notes:
        console.print(Text(_line(f"note: {note}"), style="dim"), soft_wrap=True)


def _line(text: str) -> str:
    """Return a text on one line that begins with no colons, so that no CI reads a command in it."""
    return " ".join(text.split()).lstrip(":")
