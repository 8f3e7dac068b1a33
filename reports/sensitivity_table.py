"""The price of every part in INT8, and the trials of a search, as tables with bars."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..benchmark.price import PartPrice, Search, Sensitivity, Trial
from .format import ABSENT, agreement, milliseconds, percent, points, ratio
from .sheet import Cell, Sheet

_DECADES = 3.0  # that a bar on a logarithmic scale shows
_DOUBT = "?"  # behind a time that lies within its noise


def part_sheet(found: Sensitivity) -> Sheet:
    """Lay out the price of every part in forward order."""
    largest = max((abs(row.saved_ms or 0.0) for row in found.rows), default=0.0)
    worst = max((row.disagreement or 0.0 for row in found.rows), default=0.0)
    timed = any(row.saved_ms is not None for row in found.rows)
    heads = [
        ("part", ""),
        ("nodes", ""),
        ("logits MSE", ""),
        ("KL", "nats"),
        ("labels changed", "%"),
        ("mIoU drop", "points"),
    ]
    rule = f" {found.latency_rule}." if timed else ""
    return Sheet(
        key="sensitivity",
        title="Sensitivity",
        sentence=(
            f"Each part of {found.artifact} alone in INT8 ({found.method}), against the float "
            f"file, {found.precision.upper()} on {found.runtime} with {found.threads} threads, "
            f"{found.images} images of {found.data}. Plus is a loss of mIoU and a gain of time; "
            f"{_DOUBT} marks a gain within its noise. Bars of changed labels are logarithmic."
            + rule
        ),
        heads=tuple([*heads, ("saves", "ms")] if timed else heads),
        rows=tuple(_part(row, worst, largest, timed=timed) for row in found.rows),
        notes=found.warnings,
    )


def trial_sheet(found: Search) -> Sheet:
    """Lay out the trials of a search in the order they were made."""
    return Sheet(
        key="search",
        title="Mixed precision",
        sentence=(
            f"{found.reason}. Every graph that was tried, judged on {found.evaluation} against "
            f"the float graph in FP32, budget {points(found.max_miou_drop)} points; times against "
            f"the float graph in {found.precision.upper()} on {found.runtime}, {found.threads} "
            f"threads; {_DOUBT} marks a speed-up within its noise."
        ),
        heads=(
            ("trial", ""),
            ("INT8 parts", ""),
            ("mIoU", "%"),
            ("drop", "points"),
            ("agreement", "%"),
            ("median", "ms"),
            ("float", "ms"),
            ("speed-up", ""),
            ("verdict", ""),
        ),
        rows=tuple(_trial(item, found.chosen) for item in found.trials),
        notes=(*_listed(found.trials), *found.warnings),
    )


def _listed(trials: Sequence[Trial]) -> Iterator[str]:
    """Yield the parts of the trials whose names do not list them."""
    for item in trials:
        if "#" in item.name:
            yield f"{item.name}: {', '.join(item.parts)}"


def _part(row: PartPrice, worst: float, largest_ms: float, *, timed: bool) -> tuple[Cell, ...]:
    cells = [
        Cell(row.part),
        Cell(str(row.nodes)),
        Cell(_scientific(row.mse)),
        Cell(_scientific(row.kl)),
        Cell(_share(row.disagreement), _logarithmic(row.disagreement, worst), "accent"),
        Cell(points(row.miou_drop)),
    ]
    if timed:
        saved_ms = row.saved_ms or 0.0
        length = 100 * abs(saved_ms) / largest_ms if largest_ms else 0.0
        text = (
            ABSENT
            if row.saved_ms is None
            else f"{saved_ms:+.2f}{_mark(row.doubtful)}".replace("-", "−")
        )
        cells.append(Cell(text, length, "middle" if saved_ms > 0 else "light"))
    return tuple(cells)


def _trial(item: Trial, chosen: str) -> tuple[Cell, ...]:
    verdict = "loses too much" if not item.kept else ""
    return (
        Cell(item.name),
        Cell(str(len(item.parts))),
        Cell(percent(item.miou)),
        Cell(points(item.miou_drop)),
        Cell(agreement(item.agreement)),
        Cell(milliseconds(item.latency_ms)),
        Cell(milliseconds(item.float_ms)),
        Cell(ratio(item.speedup) + _mark(item.doubtful)),
        Cell("chosen" if item.name == chosen else verdict),
    )


def _mark(doubtful: bool) -> str:
    return _DOUBT if doubtful else ""


def _scientific(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1e}"


def _share(value: float | None) -> str:
    return ABSENT if value is None else f"{100 * value:.3f}"


def _logarithmic(value: float | None, largest: float) -> float:
    """Return the length of a bar in per cent: 0 at `_DECADES` decades below the largest.

    >>> _logarithmic(0.01, 1.0), _logarithmic(0.0, 1.0)
    (33.333333, 0.0)
    """
    if not value or largest <= 0:
        return 0.0
    return round(100 * max(0.0, 1 + math.log10(value / largest) / _DECADES), 6)
