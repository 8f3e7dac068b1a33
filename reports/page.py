"""What the templates need of one record."""

from __future__ import annotations

from typing import Any

from ..benchmark.record import Record
from .bars import cold_start_bars, frame_bars, histograms, memory_bars
from .classes import class_colour, class_table
from .columns import all_warnings, tables
from .facts import artifact_facts, environment_facts, protocol_facts, protocol_line, title
from .format import points, timestamp
from .heatmap import heat_maps
from .images import panels
from .points import trial_points
from .precision import precision_maps
from .scatter import Scatter, plot_points, scatter
from .sheet import sheets
from .verdict import judge
from .waterfall import waterfall

WIDE = (1160.0, 390.0)  # user units = CSS pixels at the widest page
NARROW = (358.0, 320.0)  # a 390 px phone without its margins
SIZES = (("wide", WIDE, True), ("narrow", NARROW, False))


def context(record: Record, prefix: str = "", max_miou_drop: float | None = None) -> dict[str, Any]:
    """Return a record's values by the names the templates use.

    Args:
        record: what is shown.
        prefix: goes before every anchor, so that several records fit one page.
        max_miou_drop: the budget in the plot, a fraction of 1; None takes the search's.

    Raises:
        InputError: the record's baseline is missing, or a picture is no data URI.
    """
    verdict = judge(record)
    headline = verdict.candidate.name if verdict.candidate else ""
    return {
        "record": record,
        "id": prefix,
        "level": 3 if prefix else 2,  # of a section's heading
        "title": title(record),
        "created": timestamp(record.created),
        "verdict": verdict,
        "warnings": all_warnings(record),
        "tables": tables(record),
        "protocol_line": protocol_line(record),
        "plots": _plots(record, max_miou_drop),
        "trials": _trials(record),
        "frame": frame_bars(record),
        "latency": histograms(record),
        "classes": class_table(record, intervals=True),
        "panels": panels(record, headline),
        "legend": [(name, class_colour(record, i)) for i, name in enumerate(record.classes)],
        "sheets": sheets(record),
        "waterfall": waterfall(record.ledger),
        "heat_maps": heat_maps(record),
        "precision_maps": precision_maps(record),
        "memory": memory_bars(record),
        "cold_start": cold_start_bars(record),
        "protocol": protocol_facts(record),
        "host": environment_facts(record),
        "artifacts": artifact_facts(record),
    }


def _plots(record: Record, max_miou_drop: float | None) -> list[tuple[str, Scatter]]:
    return [
        (name, plot)
        for name, size, named in SIZES
        if (plot := scatter(record, *size, named=named, max_miou_drop=max_miou_drop))
    ]


def _trials(record: Record) -> list[tuple[str, Scatter]]:
    """Return the plot of a search's trials; the budget hangs on the mIoU of the FP32 graph."""
    search = record.search
    if search is None or len(search.trials) < 2:
        return []
    reference = search.trials[0].miou + search.trials[0].miou_drop
    budget = (reference - search.max_miou_drop, f"budget: {points(-search.max_miou_drop)} points")
    return [
        (name, plot)
        for name, size, _ in SIZES
        if (plot := plot_points(trial_points(search), *size, named=False, budget=budget))
    ]
