"""Colours for labels: a default palette, pictures of label maps, palette PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError

Palette = tuple[tuple[int, int, int], ...]
Colours = Sequence[Sequence[int]]
Image8 = NDArray[np.uint8]
Labels = NDArray[np.uint8] | NDArray[np.int32]

_GRID_STEPS = 9  # 729 candidate colours
_LIGHTNESS = (0.35, 0.90)  # darker reads as "ignored" (black), lighter as paper
_CHROMA = 0.17  # a fully saturated magenta or green hides the image it is laid over
_GREEN_RED_WEIGHT = 0.45  # one man in twelve sees little of this axis


def default_palette(classes: int) -> Palette:
    """Return `classes` distinct RGB colours, the same ones for every run.

    Each colour is the candidate farthest from all before it in OKLab, where the green-red axis
    counts less than half, so that neighbours differ in lightness or in blue-yellow too.

    >>> default_palette(2)
    ((32, 128, 192), (224, 224, 96))
    """
    if classes < 0:
        raise InputError(f"Expected a number of classes of 0 or more, but got {classes}.")
    ranked = _ranked_colours()
    return tuple(ranked[index % len(ranked)] for index in range(classes))


def colorize(labels: Labels, palette: Colours) -> Image8:
    """Return the picture (H,W,3) of a label map (H,W); labels outside the palette are black."""
    table = np.zeros((max(len(palette), int(labels.max(initial=0))) + 1, 3), np.uint8)
    if len(palette):
        table[: len(palette)] = np.asarray(palette, np.uint8)
    picture: Image8 = table[labels]
    return picture


def overlay(image: Image8, labels: Labels, palette: Colours, alpha: float = 0.5) -> Image8:
    """Mix the label colours into an image (H,W,3) with weight `alpha` in 0..1.

    Pixels whose label has no colour (the ignored ones) keep the image's.
    """
    if image.shape[:2] != labels.shape or not 0 <= alpha <= 1:
        raise InputError(
            f"Expected labels of the image's size {image.shape[:2]} and alpha in 0..1, "
            f"but got {labels.shape} and {alpha}."
        )
    weight = round(alpha * 256)
    mixed = image.astype(np.uint16) * np.uint16(256 - weight)
    mixed += colorize(labels, palette) * np.uint16(weight)
    out: Image8 = (mixed >> 8).astype(np.uint8)
    unpainted = labels >= len(palette)
    out[unpainted] = image[unpainted]
    return out


def palette_png(labels: Labels, palette: Colours) -> bytes:
    """Encode a label map as PNG: indices with the palette embedded (mode P).

    Label maps with a label above 255 become 16-bit grey PNG files, which have no palette.
    """
    from PIL import Image

    buffer = io.BytesIO()
    highest = int(labels.max(initial=0))
    if highest > 255:
        if highest > 65535:
            raise InputError(f"Expected labels up to 65535 for a PNG, but got {highest}.")
        Image.fromarray(labels.astype(np.uint16)).save(buffer, "PNG")
        return buffer.getvalue()
    picture = Image.fromarray(labels.astype(np.uint8))
    # Pillow writes as few bits as the palette needs: a palette shorter than the labels loses them
    colours = [list(colour) for colour in palette][:256]
    colours += [[0, 0, 0]] * (highest + 1 - len(colours))
    picture.putpalette(bytes(value for colour in colours for value in colour))
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def read_palette(data: bytes) -> Palette:
    """Return the colours embedded in a palette PNG, none where it has no palette."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        flat = picture.getpalette() if picture.mode == "P" else None
    values = flat or []
    return tuple(
        (values[start], values[start + 1], values[start + 2]) for start in range(0, len(values), 3)
    )


@lru_cache(maxsize=1)
def _ranked_colours() -> Palette:
    """Return every candidate colour, each as far as possible from all before it."""
    steps = np.minimum(np.arange(_GRID_STEPS) * 32, 255)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _oklab(grid)
    usable = (lab[:, 0] >= _LIGHTNESS[0]) & (lab[:, 0] <= _LIGHTNESS[1])
    usable &= np.hypot(lab[:, 1], lab[:, 2]) <= _CHROMA
    grid, lab = grid[usable], lab[usable] * (1.0, _GREEN_RED_WEIGHT, 1.0)
    first = int(np.argmin(np.abs(grid - (32, 128, 192)).sum(axis=1)))
    order, nearest = [first], np.full(len(grid), np.inf)
    for _ in range(len(grid) - 1):
        nearest = np.minimum(nearest, ((lab - lab[order[-1]]) ** 2).sum(axis=1))
        order.append(int(nearest.argmax()))
    return tuple((int(r), int(g), int(b)) for r, g, b in grid[order])


def _oklab(rgb: NDArray[np.int64]) -> NDArray[np.float64]:
    """sRGB (N,3) 0..255 → OKLab (N,3); matrices: B. Ottosson, bottosson.github.io/posts/oklab."""
    value = rgb / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    to_lms = [
        (0.4122214708, 0.5363325363, 0.0514459929),
        (0.2119034982, 0.6806995451, 0.1073969566),
        (0.0883024619, 0.2817188376, 0.6299787005),
    ]
    to_lab = [
        (0.2104542553, 0.7936177850, -0.0040720468),
        (1.9779984951, -2.4285922050, 0.4505937099),
        (0.0259040371, 0.7827717662, -0.8086757660),
    ]
    lab: NDArray[np.float64] = np.cbrt(linear @ np.array(to_lms).T) @ np.array(to_lab).T
    return lab
