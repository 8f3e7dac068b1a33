"""Waterfall, heat maps, precision maps and the plot's budget: places and shades by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from segship.benchmark.price import LedgerStep
from segship.benchmark.record import Record
from segship.reports.heatmap import heat_maps
from segship.reports.images import panels
from segship.reports.partgrid import Shade, part_grids
from segship.reports.points import Point, frontier, record_points, trial_points
from segship.reports.precision import int8_parts, precision_maps
from segship.reports.scatter import scatter
from segship.reports.waterfall import waterfall
from segship.tests.reports.full import full_record
from segship.tests.reports.test_sheets import SEARCH, TABLE


def test_a_waterfall_hangs_each_step_on_the_one_before() -> None:
    steps = (
        LedgerStep("checkpoint", "torch", 0.60, 0.0),
        LedgerStep("export", "onnx", 0.58, 0.02),
        LedgerStep("INT8", "int8", 0.59, -0.01),
    )
    chart = waterfall(steps)
    assert chart
    start, lost, gained, total = chart.falls
    assert (start.tone, lost.tone, gained.tone) == ("middle", "accent", "light")
    assert start.start == total.start == 0
    assert lost.start + lost.length == pytest.approx(start.length)
    assert gained.start == pytest.approx(lost.start)
    assert gained.length == pytest.approx(lost.length / 2)
    assert total.length == pytest.approx(gained.start + gained.length)
    assert (lost.drop, gained.drop, total.drop) == ("+2.00", "−1.00", "+1.00")
    assert waterfall(steps[:1]) is None


def test_parts_stand_by_stage_in_forward_order() -> None:
    names = ("stage 1 q", "stage 2 sr", "stage 2 q", "stage 2 odd", "classifier")
    encoder, head = part_grids({name: Shade(name[-3:], "", name) for name in names})
    assert encoder.columns == ("stage 1", "stage 2")
    assert [row[0] for row in encoder.rows] == ["sr", "q", "odd"]
    assert [shade.text for shade in encoder.rows[0][1]] == ["–", " sr"]
    assert head.rows[0][0] == "classifier"


def test_heat_maps_shade_what_was_measured(make_record: Callable[..., Record]) -> None:
    maps = heat_maps(replace(make_record(), sensitivity=TABLE))
    assert [item.key for item in maps] == ["changed", "drop", "mse", "saves"]
    changed, drop, _, saves = maps
    by_part = {
        shade.title: shade for grid in changed.grids for _, row in grid.rows for shade in row
    }
    assert by_part["stage 1 <sr>"] == Shade("4.900", "heat-5", "stage 1 <sr>")
    assert by_part["stage 1 q"].tone == "heat-1"  # 490 times less, of three decades
    assert by_part["depth classifier"] == Shade("–", "", "depth classifier")
    assert drop.grids[0].rows[0][1][0].tone == "heat-0"
    assert [row[1][0].text for row in saves.grids[0].rows] == ["+0.52", "−2.40"]
    untimed = replace(TABLE, rows=tuple(replace(row, saved_ms=None) for row in TABLE.rows))
    assert "saves" not in [m.key for m in heat_maps(replace(make_record(), sensitivity=untimed))]
    assert heat_maps(make_record()) == ()


def test_precision_comes_from_the_lineage(make_record: Callable[..., Record]) -> None:
    record = full_record(make_record)
    (found,) = precision_maps(record)
    assert found.name == record.measurements[1].name
    assert found.counts == (("INT8", 1), ("FP32", 8))
    assert found.grids[0].rows[0][1][0] == Shade("INT8", "bits-8", "stage 1 q")
    assert precision_maps(make_record()) == ()
    note = {"name": "mixed", "changed": 0, "notes": ["INT8: nothing"]}
    nothing = replace(record.measurements[1], lineage={"passes": [note]})
    assert int8_parts(nothing) == ()


def test_the_budget_is_a_line_below_the_baseline(make_record: Callable[..., Record]) -> None:
    record = make_record()
    plot = scatter(record, 1000.0, 400.0, named=True, max_miou_drop=0.01)
    assert plot and plot.budget
    baseline, last = plot.dots[0], plot.dots[-1]
    assert baseline.y < plot.budget.at < last.y  # the last candidate lost three points
    assert plot.budget.at < plot.plot.top + plot.plot.height
    searched = scatter(replace(record, search=SEARCH), 1000.0, 400.0, named=True)
    assert searched and searched.budget and searched.budget.text == "budget: −0.50 points"
    free = scatter(record, 1000.0, 400.0, named=True)
    assert free and free.budget is None


def test_the_frontier_is_what_nothing_beats() -> None:
    def point(name: str, time_ms: float, miou: float) -> Point:
        return Point("1", name, time_ms, miou, None, False, ())

    shown = [point("slow", 9, 0.5), point("best", 5, 0.6), point("fast", 2, 0.4),
             point("beaten", 3, 0.3), point("tie", 2, 0.4)]  # fmt: skip
    assert [item.name for item in frontier(shown)] == ["fast", "best"]


def test_points_say_what_the_tables_say(make_record: Callable[..., Record]) -> None:
    points = record_points(make_record(), "A")
    assert points[4].key == "A5"
    assert points[4].lines[-1] == "openvino, bf16"
    assert any(line.startswith("drop +0.0") for line in points[4].lines)
    float_, int8 = trial_points(SEARCH)
    assert float_.baseline and not int8.baseline
    assert int8.time_ms == pytest.approx(20.0 / 1.11)
    assert "within noise" in int8.lines[0] and "loses too much" in int8.lines[2]


def test_panels_follow_the_headline_candidate(make_record: Callable[..., Record]) -> None:
    record = full_record(make_record)
    name = record.measurements[1].name
    assert [panel.name[7:12] for panel in panels(record, name)] == ["07960", "07959", "07961"]
    assert [panel.name[7:12] for panel in panels(record)] == ["07959", "07960", "07961"]
