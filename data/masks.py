"""Label maps from mask files: index PNG, palette PNG by its index plane, colour masks."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from .palette import Labels, Palette

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp")
_LOSSY_FORMATS = ("JPEG", "MPO", "WEBP", "JPEG2000", "AVIF")
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L")
_PNG_DEPTH_BYTE = 24  # in the IHDR chunk, always first: w3.org/TR/png-3 section 11.2.1
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


@dataclass(frozen=True)
class ColourKey:
    """Which colour means which label.

    A colour it does not list is refused, or ignored, or means `unlisted_label`.
    """

    palette: Palette
    ignore_index: int = 255
    ignore_unlisted: bool = False
    unlisted_label: int | None = None

    def labels(self, colours: NDArray[np.uint8], file: Path) -> Labels:
        """Return the labels of a colour mask (H,W,3).

        Raises:
            InputError: a pixel has an unlisted colour (names `file` and the colour), or the
                palette has one colour for two labels.
        """
        self._refuse_repeated()
        codes = _codes(colours)
        listed = _codes(np.asarray(self.palette, np.uint8))
        order = np.argsort(listed)
        place = np.searchsorted(listed[order], codes).clip(max=len(listed) - 1)
        found = order[place]
        unlisted = listed[found] != codes
        small = max(len(listed) - 1, self.ignore_index) < 256
        labels: Labels = found.astype(np.uint8 if small else np.int32)
        if unlisted.any():
            if not self.ignore_unlisted and self.unlisted_label is None:
                raise _unlisted_colour(colours, unlisted, file)
            label = self.unlisted_label
            labels[unlisted] = self.ignore_index if label is None else label
        return labels

    def _refuse_repeated(self) -> None:
        if len(set(self.palette)) != len(self.palette):
            twice = next(c for c in self.palette if self.palette.count(c) > 1)
            raise InputError(
                f"Expected one label per colour, but the palette lists {list(twice)} twice."
            )


def read_mask(file: Path, key: ColourKey | None = None) -> Labels:
    """Read a mask file to labels (H,W), uint8 or (from 16-bit files) int32.

    Palette images give their index plane; colour images need `key`.

    Raises:
        InputError: lossy or broken file, or colours without a key (names the file).
    """
    from PIL import Image

    data = file.read_bytes()
    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.format in _LOSSY_FORMATS:
                raise lossy_mask(file)
            picture.load()
            return _labels(picture, data, file, key)
    except (*BROKEN, Image.DecompressionBombError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"Expected a whole mask image, but {file} cannot be decoded ({reason}): replace it."
        ) from error


def lossy_mask(file: Path) -> InputError:
    """Return the error for a mask whose compression invents labels."""
    return InputError(
        f"Expected a lossless mask (PNG), but {file} is compressed with loss, which changes "
        "labels at every border: export the masks again as PNG."
    )


def _unlisted_colour(
    colours: NDArray[np.uint8], unlisted: NDArray[np.bool_], file: Path
) -> InputError:
    row, column = np.argwhere(unlisted)[0]
    return InputError(
        f"Expected only the palette's colours, but {file} has {colours[row, column].tolist()} at "
        f"row {row}, column {column}: add it to the palette file, or say "
        '"unlisted": "ignore" there.'
    )


def _labels(picture: Picture, data: bytes, file: Path, key: ColourKey | None) -> Labels:
    """Return the labels of an opened mask by its mode."""
    if picture.mode in ("1", "P"):
        return np.asarray(picture).astype(np.uint8)
    if picture.mode == "L":
        plane: NDArray[np.uint8] = np.asarray(picture)
        step = _grey_step(data) if picture.format == "PNG" else 1
        return plane // np.uint8(step) if step > 1 else plane
    if picture.mode in DEEP_MODES:
        deep: NDArray[np.int32] = np.asarray(picture).astype(np.int32)
        if deep.min(initial=0) < 0:
            raise InputError(f"Expected labels of 0 or more, but {file} has {deep.min()}.")
        return deep
    if picture.mode in ("RGB", "RGBA"):
        if key is None:
            raise InputError(
                f"Expected an index mask, but {file} is in colour: put a palette.json with "
                '{"classes": [...], "palette": [[r, g, b], ...]} beside the images folder.'
            )
        return key.labels(np.asarray(picture.convert("RGB")), file)
    raise InputError(
        f"Expected a mask in grey, palette or RGB mode, but {file} has mode {picture.mode}: "
        "export it as an index PNG."
    )


def _grey_step(data: bytes) -> int:
    """Return by how much Pillow stretches the values of a grey PNG of 2 or 4 bits."""
    return {2: 85, 4: 17}.get(data[_PNG_DEPTH_BYTE], 1)


def _codes(colours: NDArray[Any]) -> NDArray[np.int32]:
    """Return (...,3) colours as one integer each."""
    wide = colours.astype(np.int32)
    codes: NDArray[np.int32] = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
    return codes
