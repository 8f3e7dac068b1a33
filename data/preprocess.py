"""From a file's bytes to the array a session takes.

The result equals the Hugging Face image processor's (Pillow backend) up to float32 rounding.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from .contract import ChannelOrder, Contract, InputKind, Resample, ResizeRule
from .palette import Image8

_ORIENTATION_TAG = 0x0112
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L")


def decode(data: bytes, name: str = "the image") -> Image8:
    """Decode an image file to RGB (H,W,3) uint8, turned upright as its EXIF tag says.

    Grey and palette images become RGB; transparency is dropped.

    Raises:
        InputError: the bytes are no whole image, or one of more than 8 bits per channel in grey.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.mode in _DEEP_MODES:
                raise InputError(
                    f"Expected 8 bits per channel, but {name} is a grey image of mode "
                    f"{picture.mode}: convert it to 8 bits."
                )
            picture.load()
            if picture.getexif().get(_ORIENTATION_TAG, 1) != 1:
                ImageOps.exif_transpose(picture, in_place=True)
            return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    except (*_BROKEN, Image.DecompressionBombError) as error:
        raise InputError(
            f"Expected a whole image file, but {name} cannot be decoded ({_first_line(error)}): "
            "replace or remove it."
        ) from error


def preprocess(image: Image8, contract: Contract) -> NDArray[Any]:
    """Return an RGB image (H,W,3) uint8 as the contract's input, (1,3,H',W').

    uint8 where `contract.input` says so, else float32 `(x · scale − mean) / std`. H' and W' are
    the contract's size for `ResizeRule.STRETCH` and the image's own for `ResizeRule.NONE`.

    >>> preprocess(np.zeros((2, 3, 3), np.uint8), Contract(size_px=(4, 5))).shape
    (1, 3, 4, 5)
    """
    image = _resize(image, contract)
    if contract.channel_order is ChannelOrder.BGR:
        image = image[..., ::-1]
    height, width = image.shape[:2]
    if contract.input is InputKind.UINT8:
        pixels = np.empty((1, 3, height, width), np.uint8)
        for channel in range(3):
            pixels[0, channel] = image[..., channel]
        return pixels
    # convert, scale and shift in place, plane by plane while it is in the cache: measured 0.5 ms
    # at 512x512 against 0.8 ms for np.multiply(out=...) and 3.4 ms for a look-up table
    normalised = np.empty((1, 3, height, width), np.float32)
    for channel in range(3):
        gain = contract.scale / contract.std[channel]
        plane = normalised[0, channel]
        plane[...] = image[..., channel]
        plane *= np.float32(gain)
        plane -= np.float32(contract.mean[channel] / contract.std[channel])
    return normalised


def resize(image: Image8, size_px: tuple[int, int], resample: Resample) -> Image8:
    """Resize an image (H,W,3) uint8 to (height, width) with Pillow's filter, antialiased."""
    if image.shape[:2] == size_px:
        return image
    from PIL import Image

    picture = Image.fromarray(image)
    wanted = Image.Resampling[resample.name]
    return np.asarray(picture.resize((size_px[1], size_px[0]), wanted))


def _resize(image: Image8, contract: Contract) -> Image8:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(
            f"Expected an RGB image (H,W,3) of uint8, but got {image.shape} of {image.dtype}."
        )
    if contract.resize is ResizeRule.NONE:
        return image
    return resize(image, contract.size_px, contract.resample)


def _first_line(error: BaseException) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):  # its text is an address in memory
        return "it is no image Pillow knows"
    return (str(error).splitlines() or [""])[0].strip() or type(error).__name__
