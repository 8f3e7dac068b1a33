"""The ground and sky of a procedural scene: road, markings, pavement, verge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .scene_view import Canvas, Colour, Paint, View

SKY, BUILDING, VEGETATION, ROAD, PAVEMENT, MARKING, CAR, PEDESTRIAN, SIGN = range(9)
IGNORED = 255

Rng = np.random.Generator

_SKIES = ((120, 165, 225), (175, 200, 230), (205, 208, 212), (235, 205, 170), (90, 110, 150))
_VERGES = ((80, 115, 55), (110, 125, 70), (130, 120, 75), (60, 90, 50))
_MARKINGS = ((225, 225, 220), (215, 190, 90))


def random_view(rng: Rng, size_px: tuple[int, int]) -> View:
    """Return a camera somewhere over a road, straight or bent, in a frame (height, width)."""
    height, width = size_px
    return View(
        height_px=height,
        width_px=width,
        horizon_px=height * rng.uniform(0.32, 0.55),
        vanish_px=width * rng.uniform(0.3, 0.7),
        road_slope=rng.uniform(0.9, 2.6),
        drift=rng.uniform(-0.45, 0.45),
        bend_px=width * rng.normal(0, 0.12),
        pavement=rng.uniform(0.15, 0.6),
    )


def paint_ground(rng: Rng, view: View) -> Canvas:
    """Return a canvas with the sky above the horizon and the ground below it."""
    sky = np.array(pick(rng, _SKIES)) + rng.normal(0, 10, 3)
    road = grey(rng, 60, 150)
    kerb = grey(rng, 80, 190)
    paints = [
        Paint(SKY, as_colour(sky), 0.12 * rng.random(), 0.01, 0.0),
        Paint(VEGETATION, vary(rng, pick(rng, _VERGES), 15), 0.25, 0.15),
        Paint(PAVEMENT, kerb, 0.08, 0.07),
        Paint(PAVEMENT, as_colour(np.array(kerb) * rng.uniform(0.75, 0.92)), 0.08, 0.07),
        Paint(ROAD, road, 0.1, 0.05),
        Paint(ROAD, as_colour(np.array(road) * rng.uniform(0.7, 1.2)), 0.1, 0.05),
        Paint(MARKING, vary(rng, pick(rng, _MARKINGS), 20), 0.15, 0.06),
    ]
    ids = np.zeros((view.height_px, view.width_px), np.int32)
    first = int(np.ceil(view.horizon_px)) + 1
    rows = np.arange(first, view.height_px, dtype=np.float32) - np.float32(view.horizon_px)
    ids[first:] = _ground_ids(rng, view, rows[:, None])
    shade = Image.new("L", (view.width_px, view.height_px), 255)
    return Canvas(view, Image.fromarray(ids), paints, shade)


def _ground_ids(rng: Rng, view: View, nearness_px: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the paint numbers below the horizon for a column of row nearnesses (R,1)."""
    columns = np.arange(view.width_px, dtype=np.float32)
    side = (columns - view.centre(nearness_px)) / (np.float32(view.road_slope) * nearness_px)
    distance = np.abs(side)
    depth = np.float32(view.depth_px) / nearness_px
    slabs = np.floor(depth * 5) + np.floor(side * 4)
    ids = np.where(slabs % 2 == 0, 2, 3)  # pavement slabs in two tones
    ids = np.where(distance > 1 + view.pavement, 1, ids)
    patched = rng.random() < 0.4
    patch = (np.floor(depth * 0.7 + rng.random()) % 3 == 0) & (side > rng.uniform(-1, 0.5))
    ids = np.where(distance < 1, np.where(patch & patched, 5, 4), ids)
    ids[_marked(rng, side, depth)] = 6
    return ids.astype(np.int32)


def _marked(rng: Rng, side: NDArray[np.float32], depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where the road carries paint: middle line, edge lines, a crossing."""
    width = rng.uniform(0.025, 0.05)
    dashes = (depth * rng.uniform(0.8, 2.0) + rng.random()) % 1 < rng.uniform(0.4, 1.0)
    marked: NDArray[np.bool_] = (np.abs(side - rng.normal(0, 0.05)) < width) & dashes
    if rng.random() < 0.6:
        marked |= np.abs(np.abs(side) - 0.9) < width * 0.8
    if rng.random() < 0.35:
        near, far = sorted(rng.uniform(1.05, 3.0, 2))
        stripes = np.floor(side * rng.uniform(5, 8)) % 2 == 0
        marked |= (depth > near) & (depth < max(far, near + 0.25)) & stripes & (np.abs(side) < 0.95)
    return marked


def pick(rng: Rng, options: Sequence[Colour]) -> Colour:
    """Return one of the colours."""
    return options[int(rng.integers(len(options)))]


def vary(rng: Rng, colour: Colour, spread: float) -> Colour:
    """Return the colour with each channel moved by about `spread`."""
    return as_colour(np.array(colour) + rng.normal(0, spread, 3))


def grey(rng: Rng, darkest: float, lightest: float) -> Colour:
    """Return a grey with a slight tint."""
    return vary(rng, (rng.uniform(darkest, lightest),) * 3, 5)


def as_colour(values: NDArray[np.float64]) -> Colour:
    """Return three channels limited to 0..255."""
    red, green, blue = np.clip(values, 0, 255).tolist()
    return red, green, blue
