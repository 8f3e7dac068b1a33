"""Perspective and canvas of a procedural scene: where things are, and which thing a pixel shows.

Lengths on the ground are in camera heights, `nearness_px` is how many pixels below the horizon
something stands, so a thing one camera height tall is `nearness_px` pixels tall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[float, float, float]
Point = tuple[float, float]
Number = TypeVar("Number", float, NDArray[np.floating[Any]])
GROUND = -1.0  # nearness of what lies on the ground: each row has its own


@dataclass(frozen=True)
class View:
    """A camera above a road: `road_slope` is the road's half width in camera heights.

    `drift` moves the camera sideways, `bend_px` is how far the road's end lies from straight.
    """

    height_px: int
    width_px: int
    horizon_px: float
    vanish_px: float
    road_slope: float
    drift: float
    bend_px: float
    pavement: float

    @property
    def depth_px(self) -> float:
        """Rows of ground in the image, the largest nearness on its border."""
        return self.height_px - self.horizon_px

    def centre(self, nearness_px: Number) -> Number:
        """Return the column of the road's middle."""
        away = 1 - nearness_px / self.depth_px
        return nearness_px * self.drift + self.vanish_px + away * away * self.bend_px

    def point(self, side: float, nearness_px: float, height: float = 0.0) -> Point:
        """Return the pixel (x, y) of a point `side` road half-widths from the middle."""
        x = self.centre(nearness_px) + side * self.road_slope * nearness_px
        return x, self.horizon_px + nearness_px * (1 - height)

    def at_depth(self, depth: float) -> float:
        """Return the nearness at `depth`, where 1 is the image's lower border."""
        return self.depth_px / depth


class Paint(NamedTuple):
    """How one thing looks: its label, colour 0..255, coarse and fine texture, nearness."""

    label: int
    colour: Colour
    coarse: float = 0.0
    fine: float = 0.03
    nearness_px: float = GROUND


@dataclass
class Canvas:
    """Which paint each pixel has (`ids`), and how much light reaches the ground (`shade`)."""

    view: View
    ids: Image.Image
    paints: list[Paint]
    shade: Image.Image
    draw: ImageDraw.ImageDraw = field(init=False)
    shadows: ImageDraw.ImageDraw = field(init=False)

    def __post_init__(self) -> None:
        """Open both planes for drawing."""
        self.draw = ImageDraw.Draw(self.ids)
        self.shadows = ImageDraw.Draw(self.shade)

    def paint(self, paint: Paint) -> int:
        """Register a paint and return its number."""
        self.paints.append(paint)
        return len(self.paints) - 1

    def polygon(self, number: int, points: Sequence[Point]) -> None:
        """Fill a polygon of pixels (x, y)."""
        self.draw.polygon(list(points), fill=number)

    def box(self, number: int, base: Point, width_px: float, height_px: float) -> None:
        """Fill an upright box standing on its base point, at least one pixel wide."""
        x, y = base
        half = max(width_px / 2, 0.5)
        self.draw.rectangle((x - half, y - max(height_px, 1), x + half, y), fill=number)

    def ellipse(self, number: int, middle: Point, radius_x: float, radius_y: float) -> None:
        """Fill an ellipse around a pixel."""
        x, y = middle
        if radius_x >= 0.5 and radius_y >= 0.5:
            bounds = (x - radius_x, y - radius_y, x + radius_x, y + radius_y)
            self.draw.ellipse(bounds, fill=number)

    def shadow(self, middle: Point, radius_x: float, radius_y: float, light: int) -> None:
        """Darken the ground around a pixel to `light` of 255."""
        x, y = middle
        if radius_x >= 0.5 and radius_y >= 0.5:
            bounds = (x - radius_x, y - radius_y, x + radius_x, y + radius_y)
            self.shadows.ellipse(bounds, fill=light)
