"""Depth from files: 16-bit PNG of a stated unit, or .npy of floats; 0 where it is not known."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from .array_file import open_array
from .masks import BROKEN, DEEP_MODES

DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
MILLIMETRE = 0.001  # the usual unit of 16-bit depth images, in metres

Depth = NDArray[np.float32]


def read_depth(file: Path, unit_m: float = MILLIMETRE) -> Depth:
    """Read a depth file to (H,W) float32; 0 where depth is not known.

    A 16-bit image holds whole numbers of `unit_m` metres; an .npy file holds the data set's own
    unit and is taken as it is.

    Raises:
        InputError: a broken file, 8 bits only, or an array of another shape (names the file).
    """
    if file.suffix.lower() == ".npy":
        return known_depth(open_array(file), str(file))
    from PIL import Image

    try:
        with Image.open(io.BytesIO(file.read_bytes())) as picture:
            picture.load()
            if picture.mode not in (*DEEP_MODES, "F"):
                raise InputError(
                    f"Expected depth in 16 bits per pixel, but {file} has mode {picture.mode}: "
                    "8 bits are a picture of depth, not its values."
                )
            values = np.asarray(picture).astype(np.float64)
    except (*BROKEN, Image.DecompressionBombError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"Expected a whole depth image, but {file} cannot be decoded ({reason}): replace it."
        ) from error
    return known_depth(values * unit_m, str(file))


def known_depth(values: NDArray[Any], name: str) -> Depth:
    """Return depth (H,W) or (H,W,1) as (H,W) float32, 0 where it is negative or not finite.

    Raises:
        InputError: another shape, or values that are no numbers.
    """
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise InputError(
            f"Expected depth (H,W) or (H,W,1) of numbers, but {name} has {values.shape} of "
            f"{values.dtype}: export one channel."
        )
    depth: Depth = np.array(values, np.float32)
    depth[~(np.isfinite(depth) & (depth > 0))] = 0
    return depth
