"""Pixel counts per image, packed: what a later gate needs to compare two records by pairs."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError

_TYPE = np.dtype("<u4")  # pixels of one class in one image: below 2^32


@dataclass(frozen=True)
class ImageCounts:
    """Counts of N images and K classes, in the order of the data set.

    `counts` holds (N,K,3) pixels of intersection, truth and prediction; `same` holds (N,) scored
    pixels on which the labels equal those of the record's baseline, "" for the baseline itself.
    Both are little-endian unsigned 32-bit integers, zlib, base64.
    """

    images: int
    classes: int
    counts: str
    same: str = ""


def pack_counts(counts: Sequence[NDArray[Any]], same: Sequence[int] | None = None) -> ImageCounts:
    """Pack the counts (K,3) of every image, and the pixels equal to the baseline's.

    >>> packed = pack_counts([np.array([[1.0, 2, 3]])], [4])
    >>> unpack_counts(packed).tolist(), unpack_same(packed).tolist()
    ([[[1.0, 2.0, 3.0]]], [4.0])
    """
    images = len(counts)
    classes = counts[0].shape[0] if images else 0
    table = np.asarray(counts).reshape(images, classes, 3)
    return ImageCounts(images, classes, _pack(table), "" if same is None else _pack(same))


def unpack_counts(packed: ImageCounts) -> NDArray[np.float64]:
    """Return counts float64 (N,K,3).

    Raises:
        InputError: they are damaged.
    """
    return _unpack(packed.counts, (packed.images, packed.classes, 3))


def unpack_same(packed: ImageCounts) -> NDArray[np.float64]:
    """Return the pixels (N,) float64 on which each image's labels equal the baseline's.

    Raises:
        InputError: they are damaged, or the baseline's own.
    """
    return _unpack(packed.same, (packed.images,))


def _pack(values: Sequence[int] | NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(np.asarray(values).astype(_TYPE).tobytes(), 9)).decode()


def _unpack(text: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    try:
        data = zlib.decompress(base64.b64decode(text, validate=True))
        return np.frombuffer(data, _TYPE).reshape(shape).astype(np.float64)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise InputError(
            f"Expected the counts of {shape[0]} images in a record, but they are damaged: "
            "measure again."
        ) from error
