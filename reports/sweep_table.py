"""What a sweep prints: one row per size, batch, thread count and candidate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..common.sizes import format_size
from .format import ABSENT, milliseconds, ratio

if TYPE_CHECKING:
    from ..benchmark.sweep import Sweep, SweepRow

_COLUMNS = ("size", "batch", "threads", "median ms", "p90 ms", "images/s", "speed-up")


def print_sweep(result: Sweep, console: Console) -> None:
    """Print every row, then why some have no number and what the tool doubts."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("artifact")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for row in result.rows:
        table.add_row(Text(row.name), *_cells(row))
    console.print(table)
    console.print(Text(f"{result.latency_rule}; {result.environment.cpu}"))
    for line in _remarks(result):
        console.print(Text(line))


def _remarks(result: Sweep) -> Iterator[str]:
    """Yield refusals with their place, and every warning once with the number of its rows."""
    for row in result.rows:
        if row.refused:
            yield f"{row.name} at {format_size(row.size_px)}, batch {row.batch}: {row.refused}"
    counts = Counter(line for row in result.rows for line in row.warnings)
    for line, count in counts.items():
        yield f"{line} ({count} of {len(result.rows)} rows)"


def _cells(row: SweepRow) -> tuple[str, ...]:
    latency = row.latency
    rate = ABSENT if row.images_per_s is None else f"{row.images_per_s:.1f}"
    return (
        format_size(row.size_px),
        str(row.batch),
        str(row.threads),
        milliseconds(latency.median_ms if latency else None),
        milliseconds(latency.p90_ms if latency else None),
        rate,
        ratio(row.speedup),
    )
