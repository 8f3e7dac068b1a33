"""A record that fills every section of a report."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from segship.benchmark.record import Record
from segship.reports.html import render_records
from segship.tests.reports.test_sheets import LEDGER, SEARCH, TABLE


def full_record(make_record: Callable[..., Record]) -> Record:
    """Return a record that fills every section; the second example is the worst one."""
    record = make_record(examples=3)
    items = list(record.measurements)
    note = {"name": "mixed", "changed": 2, "notes": ["INT8: stage 1 q"]}
    items[1] = replace(items[1], lineage={**items[1].lineage, "passes": [note]})
    shown = [
        replace(
            example,
            agreement={**dict.fromkeys(example.agreement, share), items[2].name: 1 - share},
            disagreement=dict.fromkeys(example.disagreement, disputed()),
        )
        for example, share in zip(record.examples, (0.9, 0.5, 0.99), strict=True)
    ]
    whole = replace(record, measurements=tuple(items), examples=tuple(shown))
    shades = tuple(
        replace(TABLE.rows[0], part=f"stage 4 {index}", disagreement=0.049 * 10 ** (-0.6 * index))
        for index in range(6)
    )
    table = replace(TABLE, rows=(*TABLE.rows, *shades))
    return replace(whole, sensitivity=table, search=SEARCH, ledger=LEDGER)


def disputed() -> str:
    """Return a picture of disagreement: left half differs, right half does not."""
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8], pixels[:, 8:] = (255, 92, 64), (26, 28, 34)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def write_full(make_record: Callable[..., Record], path: Path) -> Path:
    """Write the report of the full record."""
    path.write_text(render_records([full_record(make_record)], max_miou_drop=0.005))
    return path


def write_two(make_record: Callable[..., Record], path: Path) -> Path:
    """Write the report of the full record and of one from another host."""
    other = make_record(count=3, examples=1)
    host = replace(other.environment, host_id="another", cpu="Another processor")
    records = [full_record(make_record), replace(other, environment=host)]
    path.write_text(render_records(records, max_miou_drop=0.005))
    return path
