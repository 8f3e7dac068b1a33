"""Where bilinear interpolation reads along one axis, as torch's `interpolate` defines it.

An output position lies between two neighbouring inputs, `low` and `high`, with weights that sum
to one. A *cell* is the set of consecutive outputs that share the same two inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.intp]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class AxisPlan:
    """The interpolation of one axis: per output position, and grouped in cells.

    `low`, `high`, `w_low`, `w_high` and `cell_of` have one entry per output position;
    `cell_low` and `cell_high` one per cell. `slots` (slots, cells) lists the output positions
    of each cell; a cell with fewer positions repeats its last one.
    """

    low: Ints
    high: Ints
    w_low: Floats
    w_high: Floats
    cell_of: Ints
    cell_low: Ints
    cell_high: Ints
    slots: Ints
    slot_w_low: Floats
    slot_w_high: Floats


@lru_cache(maxsize=64)
def axis_plan(length_in: int, length_out: int, align_corners: bool) -> AxisPlan:
    """Return the plan that resizes `length_in` positions to `length_out`, both at least 1.

    >>> plan = axis_plan(2, 4, False)
    >>> plan.low.tolist(), plan.w_high.tolist()
    ([0, 0, 0, 1], [0.0, 0.25, 0.75, 0.25])
    """
    source = _source_positions(length_in, length_out, align_corners)
    low = np.minimum(source.astype(np.intp), length_in - 1)
    high = np.minimum(low + 1, length_in - 1)
    w_high = np.clip(source - low.astype(np.float32), 0, 1).astype(np.float32)
    w_low = np.float32(1) - w_high
    starts = np.flatnonzero(np.concatenate(([True], low[1:] != low[:-1])))
    counts = np.diff(np.append(starts, length_out))
    steps = np.arange(counts.max())[:, None]
    slots = starts + np.minimum(steps, counts - 1)
    return _frozen(
        low=low,
        high=high,
        w_low=w_low,
        w_high=w_high,
        cell_of=np.repeat(np.arange(len(starts)), counts),
        cell_low=low[starts],
        cell_high=high[starts],
        slots=slots,
        slot_w_low=w_low[slots],
        slot_w_high=w_high[slots],
    )


def resize_bilinear(
    maps: NDArray[Any], size_px: tuple[int, int], align_corners: bool = False
) -> Floats:
    """Return maps (…,h,w) of floats resized to (…,*size_px) as torch's `interpolate` does, float32.

    The array itself where the size is already right.

    >>> resize_bilinear(np.array([[0.0, 4.0]], np.float32), (1, 4)).tolist()
    [[0.0, 1.0, 3.0, 4.0]]
    """
    maps = maps.astype(np.float32, copy=False)
    if maps.shape[-2:] == size_px:
        return maps
    rows = axis_plan(maps.shape[-2], size_px[0], align_corners)
    cols = axis_plan(maps.shape[-1], size_px[1], align_corners)
    wide = maps.take(cols.low, axis=-1) * cols.w_low
    wide += maps.take(cols.high, axis=-1) * cols.w_high
    full: Floats = wide.take(rows.low, axis=-2)
    full *= rows.w_low[:, None]
    other = wide.take(rows.high, axis=-2)
    other *= rows.w_high[:, None]
    full += other
    return full


def _source_positions(length_in: int, length_out: int, align_corners: bool) -> Floats:
    """Return where each output position reads, in float32 as torch computes it."""
    target = np.arange(length_out, dtype=np.float32)
    if align_corners:
        steps = max(length_out - 1, 1)
        spread: Floats = target * (np.float32(length_in - 1) / np.float32(steps))
        return spread
    scale = np.float32(length_in) / np.float32(length_out)
    centred: Floats = scale * (target + np.float32(0.5)) - np.float32(0.5)
    np.maximum(centred, np.float32(0), out=centred)
    return centred


def _frozen(**arrays: NDArray[Any]) -> AxisPlan:
    """Return the plan with read-only arrays, since the cache hands it to every caller."""
    for array in arrays.values():
        array.flags.writeable = False
    return AxisPlan(**arrays)
