"""Bilinear up-sampling of logits followed by argmax, exactly, without interpolating everything.

An up-sampled pixel is a convex combination of four neighbouring logit vectors. Where all four
have the same argmax, no other class is larger at any corner, so none is larger in between: the
label is known without interpolation. Only the other cells are interpolated, in the order of
operations of the dense form, and there only the classes that can win (`sparse_cells`).

Rounding. `a*w0 + b*w1` is monotone in a and b also in floating point, so a class that is no
larger at the corners is no larger after rounding. It may become *equal*, and argmax then prefers
the lower index. Hence a corner counts as decided only where every class of lower index is smaller
by more than `MARGIN` of the maximum, which is above the rounding error of the interpolation
(four roundings per value, 2**-22 of the largest corner). Sparse and dense forms are then equal
bit by bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from .interpolation import AxisPlan, axis_plan
from .sparse_cells import MARGIN, SCRATCH, TINY, resolve_cells

Logits = NDArray[np.float32]
Labels = NDArray[Any]
MAX_UINT8_CLASSES = 256


def upsample_argmax(
    logits: NDArray[Any], size_px: tuple[int, int], *, align_corners: bool = False
) -> Labels:
    """Return the argmax over classes of `logits` (B,K,h,w) bilinearly resized to `size_px`.

    Equal to `dense_upsample_argmax` in every pixel, for any scale up or down.

    Args:
        logits: float32 (float16 is widened), finite, batch and class first.
        size_px: height and width of the label map.
        align_corners: as in torch's `interpolate`.

    Returns:
        Labels (B,H,W): uint8, or int32 where there are more than 256 classes.

    Raises:
        InputError: not four-dimensional, not float, empty, or not finite.
    """
    checked = _checked_logits(logits, size_px)
    rows, cols = _plans(checked, size_px, align_corners)
    labels: Labels = np.empty((len(checked), *size_px), label_dtype(checked.shape[1]))
    for image, out in zip(checked, labels, strict=True):
        _label_image(image, rows, cols, out)
    return labels


def dense_upsample_argmax(
    logits: NDArray[Any], size_px: tuple[int, int], *, align_corners: bool = False
) -> Labels:
    """Return what `upsample_argmax` returns, by interpolating every class in every pixel.

    The reference the sparse form is tested against; columns are blended before rows.
    """
    checked = _checked_logits(logits, size_px)
    rows, cols = _plans(checked, size_px, align_corners)
    wide = checked[..., cols.low] * cols.w_low + checked[..., cols.high] * cols.w_high
    w_low, w_high = rows.w_low[:, None], rows.w_high[:, None]
    full = wide[:, :, rows.low] * w_low + wide[:, :, rows.high] * w_high
    labels: Labels = full.argmax(axis=1).astype(label_dtype(checked.shape[1]))
    return labels


def dense_torch_upsample_argmax(
    logits: NDArray[Any], size_px: tuple[int, int], *, align_corners: bool = False
) -> Labels:
    """Return the labels as most deployments compute them: torch `interpolate`, then argmax.

    The baseline in benchmarks. Differs from the exact forms only where two classes are equal
    within float32 rounding, since torch may fuse a multiplication with an addition.
    """
    import torch
    from torch.nn import functional

    checked = _checked_logits(logits, size_px)
    with torch.inference_mode():
        full = functional.interpolate(
            torch.from_numpy(checked), size=size_px, mode="bilinear", align_corners=align_corners
        )
        labels: Labels = full.argmax(dim=1).numpy().astype(label_dtype(checked.shape[1]))
    return labels


def label_dtype(classes: int) -> type[np.uint8] | type[np.int32]:
    """Return the smallest label type for `classes` classes.

    >>> label_dtype(19).__name__, label_dtype(300).__name__
    ('uint8', 'int32')
    """
    return np.uint8 if classes <= MAX_UINT8_CLASSES else np.int32


def _label_image(image: Logits, rows: AxisPlan, cols: AxisPlan, out: Labels) -> None:
    """Write the labels (H,W) of one image (K,h,w) into `out`."""
    classes, _, width = image.shape
    planes = image.reshape(classes, -1)
    leader, undecided = _decided_leader(planes)
    leader = leader.astype(out.dtype, copy=False).reshape(image.shape[1:])
    left = leader.take(cols.cell_low, axis=1)
    differs = left != leader.take(cols.cell_high, axis=1)
    if undecided.any():
        open_corner = undecided.reshape(image.shape[1:])
        differs |= open_corner.take(cols.cell_low, axis=1)
        differs |= open_corner.take(cols.cell_high, axis=1)
    upper = left[rows.cell_low]
    mixed = differs[rows.cell_low] | differs[rows.cell_high] | (upper != left[rows.cell_high])
    upper.take(cols.cell_of, axis=1).take(rows.cell_of, axis=0, out=out, mode="clip")
    cells = np.flatnonzero(mixed)
    if cells.size:
        resolve_cells(planes, width, rows, cols, cells, out)


def _decided_leader(planes: Logits) -> tuple[Labels, NDArray[np.bool_]]:
    """Return per position of (K,N) the first class within `MARGIN` of the maximum.

    The second array marks positions where that class is not the maximum itself, so that
    rounding could decide between the two.
    """
    classes, length = planes.shape
    top = planes.max(axis=0)
    if not (np.isfinite(top).all() and np.isfinite(planes.min())):
        raise InputError(
            "Expected finite logits, but got NaN or infinity: the model overflowed, "
            "try a wider precision."
        )
    floor = top - (np.abs(top) * MARGIN + TINY)
    found, reached = np.zeros(length, bool), np.empty(length, bool)
    leader: Labels = np.zeros(length, label_dtype(classes))
    for plane in planes[:-1]:
        np.greater_equal(plane, floor, out=reached)
        np.logical_or(found, reached, out=found)
        leader += np.logical_not(found, out=reached).view(np.uint8)
    index = SCRATCH.array("leader", (length,), np.intp)
    np.multiply(leader, np.intp(length), out=index)
    index += np.arange(length)
    return leader, planes.reshape(-1).take(index) != top


def _plans(
    logits: Logits, size_px: tuple[int, int], align_corners: bool
) -> tuple[AxisPlan, AxisPlan]:
    """Return the row and column plans from the logits' size to `size_px`."""
    height, width = logits.shape[2:]
    return (
        axis_plan(height, size_px[0], align_corners),
        axis_plan(width, size_px[1], align_corners),
    )


def _checked_logits(logits: NDArray[Any], size_px: tuple[int, int]) -> Logits:
    """Return contiguous float32 logits; refuse what is none."""
    if logits.ndim != 4 or not logits.size or not np.can_cast(logits.dtype, np.float32):
        raise InputError(
            "Expected logits (batch, classes, height, width) in float32, "
            f"but got {logits.dtype.name} of shape {logits.shape}."
        )
    if min(size_px) < 1:
        raise InputError(f"Expected a positive label size, but got {size_px}.")
    return np.ascontiguousarray(logits, dtype=np.float32)
