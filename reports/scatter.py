"""Geometry of the plot of mIoU against time: points, whiskers, and labels that do not collide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..benchmark.record import Measurement, Record
from .axes import Axis, score_axis, tick_text, time_axis
from .format import milliseconds, percent, shorten

_LEFT, _TOP = 46.0, 26.0  # room for the ticks of mIoU and the name of their axis
_RADIUS = 5.0
_LINE = 14.0  # height of a label
_GLYPH = 6.9  # widest common advance of the labels' 12-unit sans-serif
_NAME_LIMIT = 30
_NAMED_AT_MOST = 14  # with more points the labels are their keys only


@dataclass(frozen=True)
class Tick:
    """A grid line at `at` with its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Box:
    """An axis-parallel rectangle in SVG user units."""

    left: float
    top: float
    width: float
    height: float

    def overlap(self, other: Box) -> float:
        """Return the area shared with `other`."""
        wide = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        high = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        return max(wide, 0.0) * max(high, 0.0)


@dataclass(frozen=True)
class Dot:
    """One measurement: place, whisker of the mIoU interval, label and what a pointer reads."""

    key: int
    x: float
    y: float
    label: str
    box: Box
    leader: bool  # the label stands off: a line leads to it
    baseline: bool
    whisker: tuple[float, float] | None
    title: str


@dataclass(frozen=True)
class Scatter:
    """A whole plot in SVG user units; `missing` names what has no place in it."""

    width: float
    height: float
    plot: Box
    dots: tuple[Dot, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    logarithmic: bool
    missing: tuple[str, ...]


def scatter(record: Record, width: float, height: float, *, named: bool) -> Scatter | None:
    """Lay out mIoU against median inference time, or return None with nothing to plot.

    `named` labels the points with names where there are few enough, else with the keys that
    the tables use.
    """
    shown = [
        (key, item)
        for key, item in enumerate(record.measurements, 1)
        if item.latency and item.accuracy
    ]
    if not shown:
        return None
    plot = Box(_LEFT, _TOP, width - _LEFT - 14.0, height - _TOP - 40.0)
    times = [item.latency.median_ms for _, item in shown if item.latency]
    x = time_axis(times, plot.left, plot.left + plot.width)
    y = score_axis(list(_scores(shown)), plot.top + plot.height, plot.top)
    names = named and len(shown) <= _NAMED_AT_MOST
    return Scatter(
        width=width,
        height=height,
        plot=plot,
        dots=tuple(_dots(shown, record.baseline, x, y, plot, names)),
        x_ticks=tuple(Tick(x.place(value), tick_text(value)) for value in x.ticks()),
        y_ticks=tuple(Tick(y.place(value), tick_text(value)) for value in y.ticks()),
        logarithmic=x.logarithmic,
        missing=tuple(m.name for m in record.measurements if not (m.latency and m.accuracy)),
    )


def _scores(shown: Iterable[tuple[int, Measurement]]) -> Iterator[float]:
    """Yield every per cent value that must fit: points and the ends of their whiskers."""
    for _, item in shown:
        if item.accuracy:
            yield item.accuracy.miou * 100
            yield from _ends(item) or ()


def _ends(item: Measurement) -> tuple[float, float] | None:
    """Return the mIoU interval in per cent: the drop's interval hung on the baseline's mIoU."""
    if item.accuracy is None or item.accuracy.drop is None:
        return None
    drop, miou = item.accuracy.drop, item.accuracy.miou
    reference = miou + drop.miou
    return (reference - drop.high) * 100, (reference - drop.low) * 100


def _dots(
    shown: Sequence[tuple[int, Measurement]],
    baseline: str,
    x: Axis,
    y: Axis,
    plot: Box,
    named: bool,
) -> Iterator[Dot]:
    """Yield the points in record order; labels avoid the points and one another."""
    places = [_place(item, x, y) for _, item in shown]
    taken = [_around(px, py) for px, py in places]
    for (key, item), (px, py) in zip(shown, places, strict=True):
        label = f"{key}  {shorten(item.name, _NAME_LIMIT)}" if named else str(key)
        box, far = _label_box(px, py, len(label) * _GLYPH, plot, taken)
        taken.append(box)
        ends = _ends(item)
        yield Dot(
            key=key,
            x=px,
            y=py,
            label=label,
            box=box,
            leader=far,
            baseline=item.name == baseline,
            whisker=(y.place(ends[0]), y.place(ends[1])) if ends else None,
            title=_title(item),
        )


def _place(item: Measurement, x: Axis, y: Axis) -> tuple[float, float]:
    time_ms = item.latency.median_ms if item.latency else 0.0
    return x.place(time_ms), y.place((item.accuracy.miou if item.accuracy else 0.0) * 100)


def _title(item: Measurement) -> str:
    time_ms = milliseconds(item.latency.median_ms if item.latency else None)
    miou = percent(item.accuracy.miou if item.accuracy else None)
    return f"{item.name}: {time_ms} ms, {miou} % mIoU"


def _around(x: float, y: float) -> Box:
    return Box(x - _RADIUS - 2, y - _RADIUS - 2, 2 * _RADIUS + 4, 2 * _RADIUS + 4)


def _label_box(
    x: float, y: float, width: float, plot: Box, taken: Sequence[Box]
) -> tuple[Box, bool]:
    """Return the first free place around a point, nearest first; else the least crowded."""
    options = [box for box in _options(x, y, width) if _inside(box[0], plot)]
    if not options:
        left = min(max(x - width / 2, plot.left), plot.left + plot.width - width)
        options = [(Box(left, y - _LINE - 9, width, _LINE), False)]
    return min(options, key=lambda option: sum(option[0].overlap(other) for other in taken))


def _options(x: float, y: float, width: float) -> Iterator[tuple[Box, bool]]:
    """Yield label places: beside and over the point, then in rings further out."""
    gap = _RADIUS + 4
    for ring in range(8):
        rise = ring * _LINE
        for up in (-rise, rise) if ring else (0.0,):
            yield Box(x + gap + ring * 2, y - _LINE / 2 + up, width, _LINE), ring > 1
            yield Box(x - gap - ring * 2 - width, y - _LINE / 2 + up, width, _LINE), ring > 1
        yield Box(x - width / 2, y - gap - _LINE - rise, width, _LINE), ring > 0
        yield Box(x - width / 2, y + gap + rise, width, _LINE), ring > 0


def _inside(box: Box, plot: Box) -> bool:
    return (
        box.left >= plot.left
        and box.left + box.width <= plot.left + plot.width
        and box.top >= plot.top
        and box.top + box.height <= plot.top + plot.height
    )
