"""From which thing a pixel shows to its colour: texture, light, haze, sensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .palette import Image8
from .scene_ground import Rng
from .scene_view import GROUND, Canvas

Plane = NDArray[np.float32]


def develop(rng: Rng, canvas: Canvas, ids: NDArray[np.intp]) -> Image8:
    """Return the photograph (H,W,3) of a canvas whose paint numbers are `ids` (H,W)."""
    on_ground, clear = _haze(rng, canvas, ids)
    light = _light(rng, canvas, ids, on_ground)
    air = np.array(canvas.paints[0].colour) * rng.uniform(0.7, 1.0)
    balance = 1 + rng.normal(0, 0.05, 3)
    noise = rng.uniform(1, 8)
    photo = np.empty((*ids.shape, 3), np.uint8)
    for channel in range(3):
        colours = np.array([paint.colour[channel] for paint in canvas.paints], np.float32)
        plane = colours[ids]
        plane *= light
        plane -= np.float32(air[channel])
        plane *= clear
        plane += np.float32(air[channel])
        plane *= np.float32(balance[channel])
        plane += _fine_noise(rng, ids.shape, noise)
        photo[..., channel] = plane.clip(0, 255, out=plane)
    blur = ImageFilter.BoxBlur(rng.uniform(0.1, 0.6))
    return np.asarray(Image.fromarray(photo).filter(blur))


def _light(rng: Rng, canvas: Canvas, ids: NDArray[np.intp], on_ground: NDArray[np.bool_]) -> Plane:
    """Return the factor (H,W) of each pixel's colour: texture, shadows, exposure."""
    coarse = np.array([paint.coarse for paint in canvas.paints], np.float32)
    fine = np.array([paint.fine for paint in canvas.paints], np.float32)
    light = coarse[ids]
    light *= _coarse_noise(rng, ids.shape)
    grain = _fine_noise(rng, ids.shape, 1.0)
    grain *= fine[ids]
    light += grain
    light += 1
    shade = np.asarray(canvas.shade, np.float32)
    light *= np.where(on_ground, shade * np.float32(1 / 255), np.float32(1))
    light *= _exposure(rng, ids.shape)
    return light


def _fine_noise(rng: Rng, shape: tuple[int, ...], size: float) -> Plane:
    """Return white noise (H,W) of standard deviation `size`.

    Uniform, because normal numbers cost ten times as much and look the same after blur and JPEG.
    """
    raw = np.frombuffer(rng.bytes(shape[0] * shape[1]), np.uint8).reshape(shape)
    noise: Plane = raw.astype(np.float32)
    noise -= np.float32(127.5)
    noise *= np.float32(size / 73.9)  # the deviation of 0..255 drawn uniformly
    return noise


def _coarse_noise(rng: Rng, shape: tuple[int, ...]) -> Plane:
    """Return smooth noise (H,W) of about unit size, at two scales."""
    total = np.zeros(shape, np.float32)
    for cell in (5, 24):
        small = rng.standard_normal((shape[0] // cell + 2, shape[1] // cell + 2), dtype=np.float32)
        grown = Image.fromarray(small).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
        total += np.asarray(grown)
    return total


def _exposure(rng: Rng, shape: tuple[int, ...]) -> Plane:
    """Return how bright each pixel is lit: overall level, a slope across, a vignette."""
    across = np.linspace(-1, 1, shape[1], dtype=np.float32)
    down = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    level, sideways, upright, vignette = (
        np.float32(rng.uniform(low, high))
        for low, high in ((0.55, 1.25), (-0.2, 0.2), (-0.1, 0.1), (0.0, 0.15))
    )
    columns = level * (1 + sideways * across - vignette * across**2)
    lit: Plane = columns + level * (upright * down - vignette * down**2)
    return lit


def _haze(rng: Rng, canvas: Canvas, ids: NDArray[np.intp]) -> tuple[NDArray[np.bool_], Plane]:
    """Return which pixels show the ground, and how much of each (H,W) the air lets through.

    Ground is as near as its row, other things as their paint says; the sky (0) stays clear.
    """
    view = canvas.view
    thickness = rng.uniform(0.0, 0.06) * view.depth_px
    rows = np.maximum(np.arange(view.height_px)[:, None] - view.horizon_px, 1)
    nearness = np.array([paint.nearness_px for paint in canvas.paints])
    through = np.where(nearness == 0, 1, np.exp(-thickness / np.maximum(nearness, 1)))
    on_ground = (nearness == GROUND)[ids]
    ground = np.exp(-thickness / rows).astype(np.float32)
    return on_ground, np.where(on_ground, ground, through.astype(np.float32)[ids])
