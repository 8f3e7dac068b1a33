"""The price of every part in INT8 as heat maps over part and stage, one per metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..benchmark.price import PartPrice
from ..benchmark.record import Record
from .format import ABSENT, MINUS, points
from .partgrid import Grid, Shade, part_grids

LEVELS = 5  # shades above none
_DECADES = 3.0  # that the shades of a logarithmic metric cover

Read = Callable[[PartPrice], "float | None"]
Write = Callable[[float], str]


@dataclass(frozen=True)
class HeatMap:
    """One metric of every part; `key` names it in the page."""

    key: str
    name: str
    grids: tuple[Grid, ...]


def heat_maps(record: Record) -> tuple[HeatMap, ...]:
    """Return a map for every metric that was measured; the first is the one to start with."""
    if record.sensitivity is None:
        return ()
    rows = record.sensitivity.rows
    return tuple(
        HeatMap(key, name, _grids(rows, read, write, logarithmic=logarithmic))
        for key, name, read, write, logarithmic in _METRICS
        if any(read(row) is not None for row in rows)
    )


def shade_level(value: float, largest: float, *, logarithmic: bool) -> int:
    """Return 0 for nothing up to `LEVELS` for the largest; a negative value is nothing.

    >>> [shade_level(v, 1.0, logarithmic=False) for v in (-1.0, 0.0, 0.2, 0.21, 1.0)]
    [0, 0, 1, 2, 5]
    >>> [shade_level(v, 1.0, logarithmic=True) for v in (1e-4, 0.01, 1.0)]
    [0, 2, 5]
    """
    if value <= 0 or largest <= 0:
        return 0
    share = 1 + math.log10(value / largest) / _DECADES if logarithmic else value / largest
    return max(0, math.ceil(round(share * LEVELS, 9)))


def _grids(
    rows: Sequence[PartPrice], read: Read, write: Write, *, logarithmic: bool
) -> tuple[Grid, ...]:
    largest = max((read(row) or 0.0 for row in rows), default=0.0)
    shades = {}
    for row in rows:
        value = read(row)
        if value is None:
            shades[row.part] = Shade(ABSENT, "", row.part)
            continue
        level = shade_level(value, largest, logarithmic=logarithmic)
        shades[row.part] = Shade(write(value), f"heat-{level}", row.part)
    return part_grids(shades)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", MINUS)


_METRICS: tuple[tuple[str, str, Read, Write, bool], ...] = (
    ("changed", "labels changed, %", lambda row: row.disagreement,
     lambda value: f"{100 * value:.3f}", True),
    ("drop", "mIoU drop, points", lambda row: row.miou_drop, points, False),
    ("mse", "MSE of the logits", lambda row: row.mse, lambda value: f"{value:.1e}", True),
    ("saves", "time saved, ms", lambda row: row.saved_ms, _signed, False),
)  # fmt: skip  # one metric per entry
