"""What `segship debug` prints: the part that broke it, then every part's noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .format import ABSENT

if TYPE_CHECKING:
    from ..benchmark.debug import DebugReport, PartNoise

_EXACT_DB = 200.0  # benchmark.debug_noise.EXACT_DB
_COLUMNS = ("arrives dB", "own dB", "max |Δ|", "max |A|", "lowest at")


def print_debug(report: DebugReport, console: Console) -> None:
    """Print the verdict, then a row per part in forward order."""
    for line in debug_lines(report):
        console.print(Text(line))
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("part", no_wrap=True)
    for name in _COLUMNS[:-1]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(_COLUMNS[-1])
    for part in report.parts:
        style = "red" if part.own_db < report.threshold_db or part.not_finite else ""
        table.add_row(*map(Text, _row(part)), style=style)
    console.print(table)
    console.print(Text(_reading(report)))


def debug_lines(report: DebugReport) -> Iterator[str]:
    """Yield what was found, a sentence each."""
    yield f"A {report.a}"
    yield f"B {report.b}, {report.images} images of {report.data}"
    if report.not_finite:
        found = report.not_finite
        part = f" ({found.part})" if found.part else ""
        yield (
            f"not finite: {found.tensor} of {found.operator} {found.node}{part} is the first, "
            f"{found.nan:,} NaN and {found.inf:,} Inf on image {found.image + 1}"
        )
    if report.worst is None:
        yield "equal: every value of B is that of A, bit for bit"
        return
    if report.first:
        item = report.first
        yield (
            f"first: {item.part}, at {item.key}: {decibels(item.own_db)} of its own (limit "
            f"{report.threshold_db:g} dB), {decibels(item.snr_db)} with what arrived"
        )
    else:
        yield f"first: none; no part makes noise of its own below {report.threshold_db:g} dB"
    yield f"worst: {report.worst.part}, at {report.worst.key}: {decibels(report.worst.own_db)}"
    if report.agreement is not None:
        yield f"labels: {report.agreement:.4%} equal, at a quarter of the input's size"


def decibels(value: float) -> str:
    """Return a ratio in dB, in words at its ends.

    >>> decibels(200.0), decibels(-200.0), decibels(31.26)
    ('equal', 'broken', '31.3 dB')
    """
    if value >= _EXACT_DB:
        return "equal"
    return "broken" if value <= -_EXACT_DB else f"{value:.1f} dB"


def _row(part: PartNoise) -> tuple[str, ...]:
    also = f" (with {', '.join(part.also)})" if part.also else ""
    numbers = (part.snr_db, part.own_db)
    return (
        part.part,
        *(decibels(item).removesuffix(" dB") for item in numbers),
        f"{part.max_abs:.3g}" if part.max_abs else ABSENT,
        f"{part.peak:.3g}",
        part.key + also,
    )


def _reading(report: DebugReport) -> str:
    how = (
        "matched node by node"
        if report.by_node
        else "matched where rewrites and moved scales keep the values"
    )
    return (
        "signal-to-noise ratio of B against A, the lowest value of each part: as B runs (arrives), "
        f"and of what B makes of A's own values (own); {how}; both graphs in ONNX Runtime without "
        "fusions"
    )
