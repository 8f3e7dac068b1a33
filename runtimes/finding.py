"""One fact about a machine, as `doctor` gathers them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(str, Enum):
    """How a finding bears on what segship can do here."""

    OK = "ok"
    NOTE = "note"  # works, could be better
    MISSING = "missing"  # optional and absent
    PROBLEM = "problem"  # something will fail


@dataclass(frozen=True)
class Finding:
    """One fact about this machine: topic, state, what was found, and what to do ("" if nothing)."""

    topic: str
    state: State
    found: str
    advice: str = ""
