"""A gate as annotations: lines GitHub Actions reads from a step's output."""

from __future__ import annotations

from collections.abc import Iterator

from ..benchmark.gate.outcome import GateResult, Status
from .gate_words import quantity, sentence

_KINDS = {Status.FAIL: "error", Status.CANNOT: "error", Status.WARN: "warning"}


def github_lines(result: GateResult) -> Iterator[str]:
    """Yield a line per budget that did not pass."""
    for check in result.checks:
        kind = _KINDS.get(check.status)
        if kind:
            title = _property(f"segship gate: {quantity(check)}")
            yield f"::{kind} title={title}::{_data(sentence(check))}"


def _data(text: str) -> str:
    """Escape a message, which ends at the line's end."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape a property, which ends at a comma or a colon too."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
