"""One self-contained HTML file from a record: it opens offline and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..benchmark.record import Record
from ..common.files import write_text
from .bars import cold_start_bars, frame_bars, histograms, memory_bars
from .classes import class_colour, class_table
from .columns import all_warnings, tables
from .facts import artifact_facts, environment_facts, protocol_facts, protocol_line, title
from .format import timestamp
from .images import panels
from .scatter import scatter
from .sheet import sheets
from .verdict import judge

_TEMPLATES = Path(__file__).parent / "templates"
_STYLES = ("base.css", "tables.css", "figures.css", "images.css", "print.css")
_SCRIPTS = ("script.js",)
_WIDE = (1160.0, 390.0)  # user units = CSS pixels at the widest page
_NARROW = (358.0, 320.0)  # a 390 px phone without its margins


def write_html(record: Record, path: Path) -> None:
    """Write `record` as one HTML file, whole or not at all.

    Raises:
        InputError: the record's baseline or a picture is unusable, or `path` cannot be written.
    """
    write_text(path, render_html(record))


def render_html(record: Record) -> str:
    """Return `record` as one HTML document without any reference to another file.

    Raises:
        InputError: the record's baseline is missing, or a picture is no data URI.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["place"] = _place
    return environment.get_template("report.html").render(_context(record))


def _context(record: Record) -> dict[str, Any]:
    style, script = _joined(_STYLES), _joined(_SCRIPTS)
    return {
        "record": record,
        "title": title(record),
        "created": timestamp(record.created),
        "style": Markup(style),  # our own file, not the record's text
        "script": Markup(script),  # our own file, not the record's text
        "policy": _policy(style, script),
        "verdict": judge(record),
        "warnings": all_warnings(record),
        "tables": tables(record),
        "protocol_line": protocol_line(record),
        "plots": [
            (name, plot)
            for name, size, named in (("wide", _WIDE, True), ("narrow", _NARROW, False))
            if (plot := scatter(record, *size, named=named))
        ],
        "frame": frame_bars(record),
        "latency": histograms(record),
        "classes": class_table(record),
        "panels": panels(record),
        "legend": [(name, class_colour(record, i)) for i, name in enumerate(record.classes)],
        "sheets": sheets(record),
        "memory": memory_bars(record),
        "cold_start": cold_start_bars(record),
        "protocol": protocol_facts(record),
        "host": environment_facts(record),
        "artifacts": artifact_facts(record),
    }


def _joined(names: tuple[str, ...]) -> str:
    return "\n" + "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def _policy(style: str, script: str) -> str:
    """Return the content security policy: our own style and script, embedded pictures, no more."""
    return (
        "default-src 'none'; img-src data:; "
        f"style-src 'sha256-{_digest(style)}'; script-src 'sha256-{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _place(value: float) -> str:
    """Write an SVG coordinate."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
