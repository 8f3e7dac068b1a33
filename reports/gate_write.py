"""A gate's files."""

from __future__ import annotations

import json
from pathlib import Path

from ..benchmark.gate.outcome import GateResult
from ..common.files import write_text
from .gate_junit import gate_junit
from .gate_markdown import gate_markdown


def write_gate(
    result: GateResult,
    *,
    junit: Path | None = None,
    json_path: Path | None = None,
    markdown: Path | None = None,
) -> list[Path]:
    """Write the forms asked for, each whole or not at all, and return their paths."""
    forms = (
        (junit, gate_junit),
        (json_path, lambda found: json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n"),
        (markdown, gate_markdown),
    )
    written = []
    for path, render in forms:
        if path is not None:
            write_text(path, render(result))
            written.append(path)
    return written
