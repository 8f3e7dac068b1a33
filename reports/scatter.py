"""Geometry of the plot of mIoU against time: points, whiskers, and labels that do not collide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..benchmark.record import Record
from .axes import Axis, score_axis, tick_text, time_axis
from .format import points, shorten
from .labels import Box, around, label_box
from .points import Point, budget_miou, frontier, record_points

_LEFT, _TOP = 46.0, 26.0  # room for the ticks of mIoU and the name of their axis
_GLYPH = 6.9  # widest common advance of the labels' 12-unit sans-serif
_NAME_LIMIT = 30
_NAMED_AT_MOST = 14  # with more points the labels are their keys only


@dataclass(frozen=True)
class Tick:
    """A grid line at `at` with its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Dot:
    """One measurement: place, whisker of the mIoU interval, label and what a pointer reads."""

    key: str
    x: float
    y: float
    label: str
    box: Box
    leader: bool  # the label stands off: a line leads to it
    baseline: bool
    whisker: tuple[float, float] | None
    title: str
    lines: tuple[str, ...]
    name: str


@dataclass(frozen=True)
class Budget:
    """The line below which a candidate loses too much."""

    at: float
    text: str


@dataclass(frozen=True)
class Scatter:
    """A whole plot in SVG user units; `missing` names what has no place in it.

    `steps` are the corners of the line through what nothing beats in both time and mIoU.
    """

    width: float
    height: float
    plot: Box
    dots: tuple[Dot, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    logarithmic: bool
    missing: tuple[str, ...]
    budget: Budget | None = None
    steps: tuple[tuple[float, float], ...] = ()


def scatter(
    record: Record,
    width: float,
    height: float,
    *,
    named: bool,
    max_miou_drop: float | None = None,
) -> Scatter | None:
    """Lay out mIoU against median inference time, or return None with nothing to plot.

    `named` labels the points with names where there are few enough, else with the keys that
    the tables use. `max_miou_drop` is the budget (a fraction of 1); None takes the search's.
    """
    missing = tuple(m.name for m in record.measurements if not (m.latency and m.accuracy))
    least = budget_miou(record, max_miou_drop)
    base = record.measurement(record.baseline).accuracy
    text = ""
    if least is not None and base is not None:
        text = f"budget: {points(least - base.miou)} points"
    return plot_points(
        record_points(record), width, height, named=named, missing=missing, budget=(least, text)
    )


def plot_points(
    shown: Sequence[Point],
    width: float,
    height: float,
    *,
    named: bool,
    missing: tuple[str, ...] = (),
    budget: tuple[float | None, str] = (None, ""),
) -> Scatter | None:
    """Lay out points; `budget` is the least mIoU that is allowed (or None) and its label."""
    if not shown:
        return None
    plot = Box(_LEFT, _TOP, width - _LEFT - 14.0, height - _TOP - 40.0)
    x = time_axis([point.time_ms for point in shown], plot.left, plot.left + plot.width)
    least, text = budget
    scores = [*_scores(shown), *([] if least is None else [least * 100])]
    y = score_axis(scores, plot.top + plot.height, plot.top)
    names = named and len(shown) <= _NAMED_AT_MOST
    return Scatter(
        width=width,
        height=height,
        plot=plot,
        dots=tuple(_dots(shown, x, y, plot, names)),
        x_ticks=tuple(Tick(x.place(value), tick_text(value)) for value in x.ticks()),
        y_ticks=tuple(Tick(y.place(value), tick_text(value)) for value in y.ticks()),
        logarithmic=x.logarithmic,
        missing=missing,
        budget=None if least is None else Budget(y.place(least * 100), text),
        steps=tuple(_place(point, x, y) for point in frontier(shown)),
    )


def _scores(shown: Iterable[Point]) -> Iterator[float]:
    """Yield every per cent value that must fit: points and the ends of their whiskers."""
    for point in shown:
        yield point.miou * 100
        yield from (end * 100 for end in point.ends or ())


def _dots(shown: Sequence[Point], x: Axis, y: Axis, plot: Box, named: bool) -> Iterator[Dot]:
    """Yield the points in their order; labels avoid the points and one another."""
    places = [_place(point, x, y) for point in shown]
    taken = [around(px, py) for px, py in places]
    for point, (px, py) in zip(shown, places, strict=True):
        label = f"{point.key}  {shorten(point.name, _NAME_LIMIT)}" if named else point.key
        box, far = label_box(px, py, len(label) * _GLYPH, plot, taken)
        taken.append(box)
        ends = point.ends
        yield Dot(
            key=point.key,
            x=px,
            y=py,
            label=label,
            box=box,
            leader=far,
            baseline=point.baseline,
            whisker=(y.place(ends[0] * 100), y.place(ends[1] * 100)) if ends else None,
            title=point.title,
            lines=point.lines,
            name=point.name,
        )


def _place(point: Point, x: Axis, y: Axis) -> tuple[float, float]:
    return x.place(point.time_ms), y.place(point.miou * 100)
