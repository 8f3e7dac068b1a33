"""A gate for a pull request."""

from __future__ import annotations

import re

from ..benchmark.gate.outcome import GateResult, Status
from .gate_words import budget, change, quantity, sentence, value, verdict

_MARKS = {Status.PASS: "✅", Status.WARN: "⚠️", Status.FAIL: "❌", Status.CANNOT: "❔"}


def gate_markdown(result: GateResult) -> str:
    """Return the verdict, a table of all budgets, and how each was compared."""
    lines = [f"### {_MARKS[result.status]} {_cell(verdict(result))}", ""]
    lines += ["| | baseline | candidate | worse by | budget | |", "|---|--:|--:|--:|--:|---|"]
    for check in result.checks:
        values = [value(number, check.unit) for number in (check.baseline, check.candidate)]
        status = f"{_MARKS[check.status]} {check.status.value}"
        row = (quantity(check), *values, change(check), budget(check), status)
        lines.append("| " + " | ".join(_cell(cell) for cell in row) + " |")
    lines.append("")
    lines += [f"- {_cell(sentence(it))}" for it in result.checks if it.status is not Status.PASS]
    lines += ["", "<details><summary>How it was compared</summary>", ""]
    lines += [f"- {quantity(check)}: {_cell(check.how or check.note)}" for check in result.checks]
    lines += [f"- {_cell(note)}" for note in result.notes]
    return "\n".join([*lines, "", "</details>", ""])


def _cell(text: str) -> str:
    """Return a text that cannot leave its cell or become HTML."""
    plain = " ".join(text.split()).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([|`*_\[\]~])", r"\\\1", plain)
