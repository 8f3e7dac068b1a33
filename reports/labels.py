"""Labels of a plot that collide neither with points nor with one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

RADIUS = 5.0
LINE = 14.0  # height of a label


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


def around(x: float, y: float) -> Box:
    """Return the place a point takes."""
    return Box(x - RADIUS - 2, y - RADIUS - 2, 2 * RADIUS + 4, 2 * RADIUS + 4)


def label_box(
    x: float, y: float, width: float, plot: Box, taken: Sequence[Box]
) -> tuple[Box, bool]:
    """Return the first free place around a point, nearest first; else the least crowded."""
    options = [box for box in _options(x, y, width) if _inside(box[0], plot)]
    if not options:
        left = min(max(x - width / 2, plot.left), plot.left + plot.width - width)
        options = [(Box(left, y - LINE - 9, width, LINE), False)]
    return min(options, key=lambda option: sum(option[0].overlap(other) for other in taken))


def _options(x: float, y: float, width: float) -> Iterator[tuple[Box, bool]]:
    """Yield label places: beside and over the point, then in rings further out."""
    gap = RADIUS + 4
    for ring in range(8):
        rise = ring * LINE
        for up in (-rise, rise) if ring else (0.0,):
            yield Box(x + gap + ring * 2, y - LINE / 2 + up, width, LINE), ring > 1
            yield Box(x - gap - ring * 2 - width, y - LINE / 2 + up, width, LINE), ring > 1
        yield Box(x - width / 2, y - gap - LINE - rise, width, LINE), ring > 0
        yield Box(x - width / 2, y + gap + rise, width, LINE), ring > 0


def _inside(box: Box, plot: Box) -> bool:
    return (
        box.left >= plot.left
        and box.left + box.width <= plot.left + plot.width
        and box.top >= plot.top
        and box.top + box.height <= plot.top + plot.height
    )
