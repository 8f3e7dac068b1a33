"""From what a depth head returns to depth in the data set's unit, and to a picture of it."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from ..data.contract import Contract
from ..data.palette import Image8
from .interpolation import AxisPlan, axis_plan

Depth = NDArray[np.float32]

_STEPS = 256
# (lightness, green-red, blue-yellow) in OKLab: dark violet, magenta, orange, light yellow. Every
# point of the path between them lies inside sRGB, and lightness rises all the way.
_PATH = ((0.22, 0.045, -0.1), (0.46, 0.13, -0.03), (0.69, 0.085, 0.09), (0.93, -0.025, 0.115))


def depth_from_output(output: NDArray[Any], contract: Contract, size_px: tuple[int, int]) -> Depth:
    """Return depth (B,H,W) float32 at `size_px` in the data set's unit.

    The output is resized bilinearly as the contract says (`align_corners`), then loses its sign
    where `depth_abs` says that it has no meaning, then is divided by `depth_scale`. The sign goes
    last because a network that returns full-size maps resizes before anybody can take it.

    Args:
        output: what `Session.run` returned for the depth head: (B,1,h,w) or (B,h,w), floats.
        contract: the artifact's contract.
        size_px: height and width wanted.

    Raises:
        InputError: the output is no depth map.
    """
    maps = output[:, 0] if output.ndim == 4 and output.shape[1] == 1 else output
    if maps.ndim != 3 or maps.dtype.kind != "f" or 0 in maps.shape:
        raise InputError(
            f"Expected depth (batch, 1, height, width) as floats, but got {output.dtype.name} of "
            f"shape {output.shape}: export again."
        )
    depth = _resize(maps.astype(np.float32), size_px, contract.align_corners)
    if contract.depth_abs:
        np.abs(depth, out=depth)
    depth /= np.float32(contract.depth_scale)
    return depth


def depth_picture(depth: Depth, contract: Contract) -> Image8:
    """Return the picture (H,W,3) of a depth map (H,W) in the data set's unit.

    Dark violet at the low end of `contract.depth_range` over magenta and orange to light yellow
    at its high end; what lies outside has the colour of the nearer end, what is no number is
    black. Equal steps of depth look equally large.
    """
    low, high = contract.depth_range
    share = (depth * np.float32(contract.depth_scale) - low) / (high - low)
    known = np.isfinite(share)
    index = np.round(np.where(known, share, 0).clip(0, 1) * (_STEPS - 1)).astype(np.intp)
    picture: Image8 = depth_colours()[index]
    picture[~known] = 0
    return picture


def depth_files(depth: Depth, contract: Contract) -> tuple[bytes, bytes]:
    """Return one map (H,W) as a colour PNG and as a `.npy` file of float32."""
    from PIL import Image

    png, values = io.BytesIO(), io.BytesIO()
    Image.fromarray(depth_picture(depth, contract)).save(png, "PNG")
    np.save(values, depth.astype(np.float32, copy=False), allow_pickle=False)
    return png.getvalue(), values.getvalue()


@lru_cache(maxsize=1)
def depth_colours() -> Image8:
    """Return the colour map (256,3): steps of equal length along a path through OKLab."""
    knots = np.asarray(_PATH)
    dense = np.linspace(0, len(knots) - 1, 16 * _STEPS + 1)
    path = np.stack([_smooth(dense, knots[:, axis]) for axis in range(3)], axis=1)
    lengths = np.concatenate(([0.0], np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum()))
    even = np.linspace(0, lengths[-1], _STEPS)
    lab = np.stack([np.interp(even, lengths, path[:, axis]) for axis in range(3)], axis=1)
    colours = _srgb(lab)
    colours.flags.writeable = False  # the cache hands it to every caller
    return colours


def _smooth(where: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate knots at 0, 1, 2 … by the cubic that passes through all four of them."""
    return np.asarray(np.polyval(np.polyfit(range(len(knots)), knots, 3), where), np.float64)


def _srgb(lab: NDArray[np.float64]) -> Image8:
    """OKLab (N,3) → sRGB (N,3) 0..255; matrices: B. Ottosson, bottosson.github.io/posts/oklab."""
    to_lms = np.array(
        [
            (1.0, 0.3963377774, 0.2158037573),
            (1.0, -0.1055613458, -0.0638541728),
            (1.0, -0.0894841775, -1.2914855480),
        ]
    )
    to_linear = np.array(
        [
            (4.0767416621, -3.3077115913, 0.2309699292),
            (-1.2684380046, 2.6097574011, -0.3413193965),
            (-0.0041960863, -0.7034186147, 1.7076147010),
        ]
    )
    linear = ((lab @ to_lms.T) ** 3 @ to_linear.T).clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colours: Image8 = np.round(curved * 255).astype(np.uint8)
    return colours


def _resize(maps: Depth, size_px: tuple[int, int], align_corners: bool) -> Depth:
    """Bilinear interpolation of (B,h,w) to (B,*size_px), as torch's; always a copy."""
    if maps.shape[1:] == size_px:
        return np.array(maps)
    rows = axis_plan(maps.shape[1], size_px[0], align_corners)
    columns = axis_plan(maps.shape[2], size_px[1], align_corners)
    return _along(_along(maps, rows, 1), columns, 2)


def _along(maps: Depth, plan: AxisPlan, axis: int) -> Depth:
    shape = (-1, 1) if axis == 1 else (-1,)
    low = maps.take(plan.low, axis=axis) * plan.w_low.reshape(shape)
    low += maps.take(plan.high, axis=axis) * plan.w_high.reshape(shape)
    resized: Depth = low
    return resized
