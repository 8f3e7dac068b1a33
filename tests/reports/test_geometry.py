"""Places on the page: inside the plot, to scale, and labels that do not collide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segship.benchmark.record import Record
from segship.reports.axes import Axis, score_axis, time_axis
from segship.reports.bars import cold_start_bars, frame_bars, histograms, memory_bars
from segship.reports.scatter import scatter


@pytest.mark.parametrize(("width", "named"), [(1160.0, True), (358.0, False)])
@pytest.mark.parametrize("count", [1, 2, 6, 12])
def test_labels_keep_apart_and_inside(
    make_record: Callable[..., Record], count: int, width: float, named: bool
) -> None:
    plot = scatter(make_record(count=count), width, 360.0, named=named)
    assert plot
    assert len(plot.dots) == count
    for one, other in combinations(plot.dots, 2):
        assert one.box.overlap(other.box) == 0
    for dot in plot.dots:
        assert plot.plot.left <= dot.x <= plot.plot.left + plot.plot.width
        assert plot.plot.top <= dot.y <= plot.plot.top + plot.plot.height
        assert dot.box.left >= 0
        assert dot.box.left + dot.box.width <= width
        if dot.whisker:
            assert dot.whisker[1] - 1e-9 <= dot.y <= dot.whisker[0] + 1e-9  # rounding of floats


def test_faster_is_left_and_better_is_up(make_record: Callable[..., Record]) -> None:
    record = make_record()
    plot = scatter(record, 1000.0, 400.0, named=True)
    assert plot
    pairs = list(zip(record.measurements, plot.dots, strict=True))
    for (one, dot), (other, place) in combinations(pairs, 2):
        assert one.latency and other.latency and one.accuracy and other.accuracy
        assert (one.latency.median_ms < other.latency.median_ms) == (dot.x < place.x)
        assert (one.accuracy.miou >= other.accuracy.miou) == (dot.y <= place.y)
    assert [dot.baseline for dot in plot.dots] == [True, False, False, False, False, False]


def test_nothing_to_plot_is_no_plot(make_record: Callable[..., Record]) -> None:
    record = make_record(count=2)
    bare = tuple(replace(item, latency=None) for item in record.measurements)
    assert scatter(replace(record, measurements=bare), 100.0, 100.0, named=True) is None


def test_bars_are_to_one_scale(make_record: Callable[..., Record]) -> None:
    record = make_record()
    bars = frame_bars(record)
    assert bars
    base = record.measurements[0].frame
    fast = record.measurements[4].frame
    assert base and fast
    parts = [row.segments for row in bars.rows]
    assert parts[0][2].length / parts[4][2].length == pytest.approx(
        base.inference.median_ms / fast.inference.median_ms
    )
    for row in bars.rows:
        assert row.segments[0].start == 0
        assert all(
            one.start + one.length == pytest.approx(other.start)
            for one, other in zip(row.segments, row.segments[1:], strict=False)
        )
        assert row.segments[-1].start + row.segments[-1].length <= 100 + 1e-9  # sum of floats


@pytest.mark.parametrize("lay_out", [frame_bars, memory_bars, cold_start_bars, histograms])
def test_a_measurement_without_the_part_has_no_row(
    make_record: Callable[..., Record],
    lay_out: Callable[[Record], object],
) -> None:
    record = make_record(count=2)
    bare = replace(record.measurements[1], frame=None, memory=None, cold_start=None, latency=None)
    one = lay_out(replace(record, measurements=(record.measurements[0], bare)))
    assert len(one.rows) == 1  # type: ignore[attr-defined]  # every layout has rows
    assert lay_out(replace(record, measurements=(bare,))) is None


def test_histograms_count_every_sample(make_record: Callable[..., Record]) -> None:
    record = make_record(count=1)
    item = record.measurements[0]
    assert item.latency
    far = replace(item.latency, samples_ms=(*item.latency.samples_ms, 100 * item.latency.median_ms))
    found = histograms(replace(record, measurements=(replace(item, latency=far),)))
    assert found
    assert found.clipped
    assert found.high == "2.00×"
    assert found.rows[0].heights[-1] > 0
    assert found.rows[0].samples == "121 samples"
    fullest = 1 / min(height for height in found.rows[0].heights if height > 0)
    assert sum(found.rows[0].heights) * fullest == pytest.approx(121)


@given(st.floats(0.01, 1e5), st.floats(1.0, 1e4))
def test_time_ticks_are_inside_and_rise(low: float, factor: float) -> None:
    axis = time_axis((low, low * factor), 0.0, 100.0)
    ticks = axis.ticks()
    assert list(ticks) == sorted(set(ticks))
    assert all(axis.low <= tick <= axis.high * (1 + 1e-9) for tick in ticks)  # rounding of floats
    assert len(ticks) >= 1
    assert 0 <= axis.place(low) < axis.place(low * factor) + 1e-9 <= 100 + 1e-6  # the same


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_scores_are_never_magnified_beyond_a_point(values: list[float]) -> None:
    axis = score_axis(values, 0.0, 100.0)
    assert axis.high - axis.low >= 1.0
    assert all(0 < axis.place(value) < 100 for value in values)
    assert len(axis.ticks()) >= 2


def test_a_descending_axis_runs_up_the_page() -> None:
    assert Axis(0, 10, 100, 0).place(7.5) == 25.0
