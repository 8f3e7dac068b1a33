"""One self-contained HTML file from records: it opens offline and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..benchmark.record import Record
from ..common.errors import InputError
from ..common.files import write_text
from .attention import attention_sheet
from .comparison import LETTERS, compare
from .facts import title
from .page import context
from .precision import file_maps

if TYPE_CHECKING:
    from ..benchmark.attention import AttentionMaps

_TEMPLATES = Path(__file__).parent / "templates"
_STYLES = (
    "base.css", "tables.css", "figures.css", "maps.css", "images.css", "viewer.css", "print.css"
)  # fmt: skip
_SCRIPTS = ("tips.js", "sort.js", "viewer.js", "choose.js")


def write_html(record: Record, path: Path) -> None:
    """Write `record` as one HTML file, whole or not at all.

    Raises:
        InputError: the record's baseline or a picture is unusable, or `path` cannot be written.
    """
    write_text(path, render_html(record))


def render_html(record: Record, *, max_miou_drop: float | None = None) -> str:
    """Return `record` as one HTML document without any reference to another file.

    `max_miou_drop`, a fraction of 1, is the budget drawn into the plot; None takes the search's.

    Raises:
        InputError: the record's baseline is missing, or a picture is no data URI.
    """
    return render_records([record], max_miou_drop=max_miou_drop)


def render_records(
    records: Sequence[Record],
    *,
    max_miou_drop: float | None = None,
    attention: AttentionMaps | None = None,
    network: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Return one document with a section per record, and what compares them before it.

    `max_miou_drop`, a fraction of 1, is the budget drawn into the plots; `attention` adds a
    section with its maps, `network` one with the precision of the parts of files by name.

    Raises:
        InputError: none or too many records, a baseline is missing, or a picture is no data URI.
    """
    if not 1 <= len(records) <= len(LETTERS):
        raise InputError(
            f"Expected 1 to {len(LETTERS)} records, but got {len(records)}: make several reports."
        )
    environment = _environment()
    alone = len(records) == 1
    pages = [
        _page(
            environment,
            context(record, "" if alone else f"{letter.lower()}-", max_miou_drop),
            {"attended": bool(attention and alone), "networked": bool(network and alone)},
        )
        for letter, record in zip(LETTERS, records, strict=False)
    ]
    style, script = _joined(_STYLES), _joined(_SCRIPTS)
    return environment.get_template("report.html").render(
        title=title(records[0]) if alone else f"{len(records)} records compared",
        versions=", ".join(sorted({record.segship_version for record in records})),
        style=Markup(style),  # our own file, not the record's text
        script=Markup(script),  # our own file, not the record's text
        policy=_policy(style, script),
        pages=pages,
        comparison=None if alone else compare(records, max_miou_drop),
        attention=attention_sheet(attention) if attention else None,
        network=file_maps(network or {}),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["place"] = _place
    return environment


def _page(
    environment: Environment, values: dict[str, Any], further: dict[str, bool]
) -> dict[str, Markup]:
    """Return a record's three parts, rendered by our templates, which escape its text."""
    return {
        part: Markup(environment.get_template(f"{part}.html").render(values, **further))
        for part in ("header", "body", "footer")
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
