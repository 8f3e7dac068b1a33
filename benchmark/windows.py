"""Sliding windows: where they lie, how they are fed, and the average where they overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from ..data.contract import Contract, InputKind

Array = NDArray[Any]
Fields = dict[str, NDArray[np.float32]]  # per head (C,H,W)
_BATCH_PX = 4 << 20  # pixels fed at once where the batch is free: 4 windows of 1024x1024


@dataclass(frozen=True)
class Slide:
    """Windows of `crop_px` every `stride_px`, both (height, width).

    Raises:
        InputError: a stride below 1 or above the crop.
    """

    crop_px: tuple[int, int]
    stride_px: tuple[int, int]

    def __post_init__(self) -> None:
        """Refuse strides that leave gaps."""
        if any(not 1 <= s <= c for s, c in zip(self.stride_px, self.crop_px, strict=True)):
            raise InputError(
                f"Expected a stride of 1 to the crop {self.crop_px}, but got {self.stride_px}: "
                "a larger one leaves pixels out."
            )

    def corners(self, size_px: tuple[int, int]) -> list[tuple[int, int]]:
        """Return the top left corners (y, x) for an image of at least the crop, row by row.

        The last window of a row or column is shifted inside.

        >>> Slide((4, 4), (3, 3)).corners((4, 9))
        [(0, 0), (0, 3), (0, 5)]
        """
        rows, columns = (
            _starts(size, crop, stride)
            for size, crop, stride in zip(size_px, self.crop_px, self.stride_px, strict=True)
        )
        return [(y, x) for y in rows for x in columns]


def slide(
    pixels: Array,
    plan: Slide,
    contract: Contract,
    batch: int | None,
    fields_of: Callable[[Array], Fields],
) -> Fields:
    """Return fields per head at the size of `pixels`, averaged over the windows on each pixel.

    An image smaller than the crop is padded at the bottom and right with the mean colour (0 once
    normalised), and what was predicted on the padding is dropped.

    Args:
        pixels: one preprocessed image (1,3,H,W) at its own size.
        plan: crop and stride.
        contract: says what the mean colour of raw pixels is.
        batch: windows the artifact takes at once; None where its batch is free.
        fields_of: windows (n,3,h,w) → per head float32 (n,C,h,w).
    """
    height, width = pixels.shape[2:]
    padded = _padded(pixels, plan.crop_px, contract)
    size_px = (padded.shape[2], padded.shape[3])
    sums: Fields = {}
    count = np.zeros(size_px, np.float32)
    for corners, windows in _batches(padded, plan, batch):
        found = fields_of(windows)
        for number, (y, x) in enumerate(corners):
            place = (slice(y, y + plan.crop_px[0]), slice(x, x + plan.crop_px[1]))
            count[place] += 1
            for head, field in found.items():
                if head not in sums:
                    sums[head] = np.zeros((field.shape[1], *size_px), np.float32)
                sums[head][:, place[0], place[1]] += field[number]
    for total in sums.values():
        total /= count
    return {head: total[:, :height, :width] for head, total in sums.items()}


def _batches(
    pixels: Array, plan: Slide, batch: int | None
) -> Iterator[tuple[Sequence[tuple[int, int]], Array]]:
    """Yield corners and windows (n,3,h,w); a static batch is filled with the last window."""
    height, width = plan.crop_px
    corners = plan.corners((pixels.shape[2], pixels.shape[3]))
    most = batch or max(1, _BATCH_PX // (height * width))
    for start in range(0, len(corners), most):
        chosen = corners[start : start + most]
        cut = [pixels[0, :, y : y + height, x : x + width] for y, x in chosen]
        cut += [cut[-1]] * (most - len(cut) if batch else 0)
        yield chosen, np.stack(cut)


def _starts(size: int, crop: int, stride: int) -> list[int]:
    count = max(0, -(-(size - crop) // stride)) + 1
    return [min(index * stride, max(0, size - crop)) for index in range(count)]


def _padded(pixels: Array, crop_px: tuple[int, int], contract: Contract) -> Array:
    """Return (1,3,H',W') of at least the crop."""
    height, width = pixels.shape[2:]
    target = (max(height, crop_px[0]), max(width, crop_px[1]))
    if target == (height, width):
        return pixels
    result = np.zeros((1, 3, *target), pixels.dtype)
    if contract.input is InputKind.UINT8:
        mean = np.rint(np.array(contract.mean) / contract.scale).clip(0, 255)
        result[:] = mean.astype(np.uint8)[:, None, None]  # both in the network's channel order
    result[:, :, :height, :width] = pixels
    return result
