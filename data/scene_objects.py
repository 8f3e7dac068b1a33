"""What stands in a procedural scene, drawn from far to near so that near things hide far ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .scene_ground import (
    BUILDING,
    CAR,
    IGNORED,
    PEDESTRIAN,
    SIGN,
    VEGETATION,
    Rng,
    as_colour,
    grey,
    pick,
    vary,
)
from .scene_view import Canvas, Colour, Paint

_WALLS = ((150, 85, 65), (195, 175, 140), (140, 140, 145), (215, 210, 200), (110, 95, 85))
_LEAVES = ((55, 95, 40), (90, 115, 45), (120, 100, 45), (40, 70, 45), (150, 95, 40))
_PLATES = ((200, 35, 35), (30, 70, 170), (225, 185, 30), (235, 235, 235), (30, 120, 60))
_SKIN = ((225, 180, 150), (150, 105, 80), (90, 60, 45))
_DARK: Colour = (25, 25, 28)

Drawer = Callable[[Rng, Canvas, float, float], None]


def place_objects(rng: Rng, canvas: Canvas) -> None:
    """Put a random street onto the ground: far skyline, sides of the road, traffic, people."""
    _skyline(rng, canvas)
    standing: list[tuple[float, float, Drawer]] = []
    for direction in (-1.0, 1.0):
        standing += _side_of_road(rng, canvas.view.pavement, direction)
    for _ in range(int(rng.integers(0, 6))):
        depth = 1 / rng.uniform(0.06, 0.85)
        standing.append((depth, float(rng.choice((-0.85, -0.5, 0.45, 0.5, 0.85))), draw_car))
    for _ in range(int(rng.integers(0, 7))):
        on_road = rng.random() < 0.2
        beside = rng.choice((-1, 1)) * (1 + canvas.view.pavement * rng.uniform(0.1, 0.9))
        side = rng.uniform(-0.9, 0.9) if on_road else beside
        standing.append((1 / rng.uniform(0.1, 0.8), float(side), draw_pedestrian))
    for depth, side, drawer in sorted(standing, key=lambda item: -item[0]):
        drawer(rng, canvas, side, canvas.view.at_depth(depth))
    if rng.random() < 0.25:
        _bonnet(rng, canvas)


def _side_of_road(rng: Rng, pavement: float, direction: float) -> list[tuple[float, float, Drawer]]:
    """Return buildings, trees and signs along one side, as (depth, side, drawer)."""
    found: list[tuple[float, float, Drawer]] = []
    built_up = rng.uniform(0.2, 0.95)
    depth = rng.uniform(0.5, 1.2)
    while depth < 14:
        length = rng.uniform(0.4, 1.3) * depth
        edge = direction * (1 + pavement + rng.uniform(0.02, 0.3))
        if rng.random() < built_up:
            found.append((depth + length / 2, edge, _building_of(depth, depth + length)))
        else:
            found.append((depth + length / 2, edge + direction * rng.uniform(0, 0.6), draw_tree))
        depth += length * rng.uniform(0.9, 1.2)
    for drawer, most in ((draw_tree, 3), (draw_sign, 4)):
        for _ in range(int(rng.integers(0, most))):
            side = direction * (1 + pavement * rng.uniform(0.05, 0.9))
            found.append((1 / rng.uniform(0.1, 0.75), side, drawer))
    return found


def _skyline(rng: Rng, canvas: Canvas) -> None:
    """Draw far tree tops or roofs along the horizon."""
    view = canvas.view
    built = rng.random() < 0.4
    colour = vary(rng, pick(rng, _WALLS if built else _LEAVES), 12)
    paint = Paint(BUILDING if built else VEGETATION, colour, 0.1, 0.05, view.depth_px * 0.04)
    columns = np.linspace(0, view.width_px, int(rng.integers(9, 30)))
    tops = view.horizon_px - view.height_px * rng.uniform(0, rng.uniform(0.02, 0.1), len(columns))
    if built:
        columns, tops = np.repeat(columns, 2)[1:], np.repeat(tops, 2)[:-1]
    base = view.horizon_px + 2
    outline = [(0.0, base), *zip(columns.tolist(), tops.tolist(), strict=True)]
    canvas.polygon(canvas.paint(paint), [*outline, (float(view.width_px), base)])


def _building_of(near: float, far: float) -> Drawer:
    """Return the drawer of a building that reaches from depth `near` to `far`."""

    def draw_building(rng: Rng, canvas: Canvas, side: float, _: float) -> None:
        view = canvas.view
        close, away = view.at_depth(near), view.at_depth(far)
        height = rng.uniform(1.8, 7.0)
        colour = np.array(vary(rng, pick(rng, _WALLS), 14))
        wall = Paint(BUILDING, as_colour(colour), 0.05, 0.04, (close + away) / 2)
        front = canvas.paint(wall)
        end = canvas.paint(wall._replace(colour=as_colour(colour * rng.uniform(0.6, 1.15))))
        glass = canvas.paint(wall._replace(colour=grey(rng, 30, 200), coarse=0.2))
        outer = side + np.sign(side) * 4
        for number, (a, start), (b, stop) in (
            (front, (side, close), (side, away)),
            (end, (outer, close), (side, close)),
        ):
            quad = [view.point(a, start), view.point(a, start, height)]
            canvas.polygon(number, [*quad, view.point(b, stop, height), view.point(b, stop)])
        if rng.random() < 0.85:
            _windows(rng, canvas, glass, (side, height, near, far))

    return draw_building


def _windows(rng: Rng, canvas: Canvas, glass: int, wall: tuple[float, float, float, float]) -> None:
    """Draw a grid of windows on the wall (side, height, near, far) that faces the road."""
    side, height, near, far = wall
    floors, columns = max(1, round(height / rng.uniform(1.0, 1.8))), int(rng.integers(2, 6))
    share = rng.uniform(0.35, 0.7)
    for column in range(columns):
        start = near + (far - near) * (column + 0.5 - share / 2) / columns
        stop = start + (far - near) * share / columns
        left, right = canvas.view.at_depth(start), canvas.view.at_depth(stop)
        if left < 8:
            continue  # a window would be under two pixels
        for floor in range(floors):
            low = height * (floor + 0.5 - share / 2) / floors
            high = low + height * share / floors
            corners = ((left, low), (left, high), (right, high), (right, low))
            canvas.polygon(glass, [canvas.view.point(side, s, h) for s, h in corners])


def draw_tree(rng: Rng, canvas: Canvas, side: float, nearness_px: float) -> None:
    """Draw a trunk and a crown of overlapping ellipses, or a bush without trunk."""
    base = canvas.view.point(side, nearness_px)
    trunk = rng.uniform(0.5, 1.6) if rng.random() < 0.8 else 0.1
    crown = rng.uniform(0.4, 1.2)
    wood = Paint(VEGETATION, vary(rng, (85, 65, 45), 12), 0.1, 0.08, nearness_px)
    leaves = canvas.paint(wood._replace(colour=vary(rng, pick(rng, _LEAVES), 14), coarse=0.35))
    canvas.shadow(base, crown * nearness_px, crown * nearness_px * 0.2, 150)
    width = 0.14 * nearness_px
    canvas.box(canvas.paint(wood), base, width, (trunk + crown / 2) * nearness_px)
    for _ in range(5):
        x = base[0] + rng.normal(0, 0.4) * crown * nearness_px
        y = base[1] - (trunk + crown * rng.uniform(0.3, 1.4)) * nearness_px
        radius = crown * rng.uniform(0.4, 0.8) * nearness_px
        canvas.ellipse(leaves, (x, y), radius, radius * rng.uniform(0.7, 1.0))


def draw_sign(rng: Rng, canvas: Canvas, side: float, nearness_px: float) -> None:
    """Draw a pole with a round, square or triangular plate, or a traffic light."""
    x, y = canvas.view.point(side, nearness_px)
    height = rng.uniform(1.5, 2.6) * nearness_px
    radius = rng.uniform(0.2, 0.36) * nearness_px
    metal = Paint(SIGN, grey(rng, 50, 170), 0.02, 0.04, nearness_px)
    canvas.box(canvas.paint(metal), (x, y), max(0.09 * nearness_px, 2), height)
    plate = canvas.paint(metal._replace(colour=vary(rng, pick(rng, _PLATES), 15)))
    middle = (x, y - height)
    shape = int(rng.integers(4))
    if shape == 0:
        canvas.ellipse(plate, middle, radius, radius)
    elif shape == 1:
        canvas.box(plate, (x, y - height + radius), radius * 2.2, radius * rng.uniform(1.2, 2.4))
    elif shape == 2:
        top, low = y - height - radius * 1.2, y - height + radius * 0.8
        canvas.polygon(plate, [(x, top), (x + radius * 1.2, low), (x - radius * 1.2, low)])
    else:
        case = canvas.paint(metal._replace(colour=_DARK))
        canvas.box(case, (x, y - height + radius * 2), radius * 1.1, radius * 3)
        lamp = (x, y - height + radius * rng.choice((-0.6, 0.5, 1.5)))
        canvas.ellipse(plate, lamp, radius * 0.4, radius * 0.4)


def draw_car(rng: Rng, canvas: Canvas, side: float, nearness_px: float) -> None:
    """Draw a car or van from behind or in front: body, cabin, glass, wheels, lights."""
    x, y = canvas.view.point(side, nearness_px)
    width = rng.uniform(1.15, 1.5) * nearness_px
    height = rng.uniform(0.9, 1.15) * nearness_px * (1.5 if rng.random() < 0.2 else 1.0)
    tint = as_colour(rng.uniform(15, 240, 3) * (0.35 if rng.random() < 0.3 else 1.0))
    colour = grey(rng, 20, 235) if rng.random() < 0.5 else tint
    body = Paint(CAR, colour, 0.08, 0.03, nearness_px)
    paint, dark = canvas.paint(body), canvas.paint(body._replace(colour=_DARK))
    glass = canvas.paint(body._replace(colour=grey(rng, 30, 130), coarse=0.3))
    light = canvas.paint(body._replace(colour=(200, 30, 30) if side > 0 else (245, 240, 215)))
    canvas.shadow((x, y), width * 0.62, width * 0.12, 90)
    waist, narrow = y - height * 0.55, rng.uniform(0.34, 0.46)
    for offset in (-0.36, 0.36):
        canvas.box(dark, (x + offset * width, y), width * 0.16, height * 0.25)
    canvas.box(paint, (x, y - height * 0.12), width, height * 0.48)
    for number, inset in ((paint, 0.0), (glass, 0.05)):
        low, top = waist - inset * height, y - height * (1 - inset)
        outer, inner = width * (0.48 - inset), width * (narrow - inset)
        outline = [(x - outer, low), (x - inner, top), (x + inner, top), (x + outer, low)]
        canvas.polygon(number, outline)
    for offset in (-0.4, 0.4):
        canvas.box(light, (x + offset * width, y - height * 0.36), width * 0.13, height * 0.1)


def draw_pedestrian(rng: Rng, canvas: Canvas, side: float, nearness_px: float) -> None:
    """Draw a standing or walking person: legs, coat, head."""
    x, y = canvas.view.point(side, nearness_px)
    height = rng.uniform(1.0, 1.35) * nearness_px
    width = height * rng.uniform(0.24, 0.34)
    cloth = Paint(PEDESTRIAN, as_colour(rng.uniform(15, 225, 3)), 0.08, 0.05, nearness_px)
    coat = canvas.paint(cloth)
    trousers = canvas.paint(cloth._replace(colour=as_colour(rng.uniform(15, 150, 3))))
    skin = canvas.paint(cloth._replace(colour=vary(rng, pick(rng, _SKIN), 10)))
    canvas.shadow((x, y), width, width * 0.3, 130)
    stride = rng.uniform(0.05, 0.35) * width
    for offset in (-stride, stride):
        canvas.box(trousers, (x + offset, y), width * 0.4, height * 0.5)
    canvas.box(coat, (x, y - height * 0.42), width, height * 0.42)
    canvas.ellipse(skin, (x, y - height * 0.9), height * 0.075 + 0.5, height * 0.1 + 0.5)


def _bonnet(rng: Rng, canvas: Canvas) -> None:
    """Draw the camera car's bonnet, whose pixels are ignored."""
    view = canvas.view
    paint = canvas.paint(Paint(IGNORED, grey(rng, 10, 90), 0.2, 0.01, view.depth_px))
    middle = (view.width_px * rng.uniform(0.4, 0.6), float(view.height_px))
    rise = view.height_px * rng.uniform(0.06, 0.14)
    canvas.ellipse(paint, middle, view.width_px * rng.uniform(0.45, 0.7), rise)
