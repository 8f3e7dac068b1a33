"""Images and labels kept as NumPy arrays: opened without executing anything, made uint8."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from .palette import Image8, Labels

_BROKEN = (OSError, ValueError, EOFError, SyntaxError, TypeError, OverflowError)


def open_array(file: Path) -> NDArray[Any]:
    """Open an .npy file memory-mapped, read-only; pickled objects are refused, never executed.

    Raises:
        InputError: no .npy file, a broken one, or one of pickled objects (names the file).
    """
    try:
        # unlike numpy.load, this opens neither archives nor pickles
        array: NDArray[Any] = np.lib.format.open_memmap(file, mode="r")
    except _BROKEN as error:
        reason = (str(error).splitlines() or [""])[0].rstrip(".")
        raise InputError(
            f"Expected a plain NumPy array, but {file} cannot be opened ({reason}): save it again "
            "with numpy.save."
        ) from error
    return array


def as_labels(values: NDArray[Any], ignore_index: int, name: str) -> Labels:
    """Return labels (H,W) or (H,W,1) as (H,W) uint8 or int32; negative ones are ignored.

    Raises:
        InputError: another shape, or values that are not whole numbers (names the file).
    """
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "fiub":
        raise InputError(
            f"Expected labels (H,W) of whole numbers, but {name} has {values.shape} of "
            f"{values.dtype}: save class numbers."
        )
    if values.dtype == np.uint8:
        return np.asarray(values)
    with np.errstate(invalid="ignore"):  # what is no number is refused below
        wide = values.astype(np.int32)
    if values.dtype.kind == "f" and not np.array_equal(wide, values):
        raise InputError(
            f"Expected labels of whole numbers, but {name} has fractions: save class numbers."
        )
    wide[wide < 0] = ignore_index
    return wide.astype(np.uint8) if int(wide.max(initial=0)) < 256 else wide


def as_image(values: NDArray[Any], name: str, *, unit: bool = False) -> Image8:
    """Return an RGB image (H,W,3) as uint8; floats are rounded, with `unit` 1.0 becomes 255.

    Raises:
        InputError: another shape, or values outside 0..255 (with `unit` 0..1) (names the file).
    """
    if values.ndim != 3 or values.shape[2] != 3 or values.dtype.kind not in "fiu":
        raise InputError(
            f"Expected an RGB image (H,W,3), but {name} has {values.shape} of {values.dtype}: "
            "save it with the channels last."
        )
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    scaled = values.astype(np.float32) * (255 if unit else 1)
    if not (scaled.min(initial=0) >= 0 and scaled.max(initial=0) < 255.5):
        raise InputError(
            f"Expected values of 0 to {1 if unit else 255} as in the other images, but {name} has "
            f"{values.min()} to {values.max()}: scale all images alike."
        )
    return np.rint(scaled).astype(np.uint8)


def png_of(image: Image8) -> bytes:
    """Encode an RGB image (H,W,3) as PNG, without loss."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
