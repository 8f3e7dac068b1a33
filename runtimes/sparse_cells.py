"""The cells whose corners disagree: find the classes that can win, interpolate only those.

Proof of the pruning. Inside a cell a class is at most its largest corner, and every class is at
least its smallest corner. So a class whose largest corner is below the smallest corner of some
other class never wins; `MARGIN` keeps classes that rounding could make equal. On road scenes 2.5
of 11 classes remain.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .interpolation import AxisPlan, Floats, Ints

MARGIN = np.float32(2.0**-18)  # relative; 16 times the rounding error of an interpolated value
TINY = np.float32(1e-30)  # absolute; covers underflow around zero
_CHUNK_PIXELS = 131_072  # interpolated pixels at a time; smaller chunks cost more calls than misses
_CHUNK_VALUES = 262_144  # corner logits at a time, so that many classes stay within 1 MiB

Array = NDArray[Any]


@dataclass(frozen=True)
class Contenders:
    """Pairs of cell and class, ordered by rank: first each cell's lowest class, and so on.

    `order` sorts the cells by their number of contenders, most first, so that the cells with a
    contender of rank r are a prefix of length `counts[r]`. `classes` and `positions` (the cell
    before sorting) have one entry per pair; classes ascend with the rank.
    """

    order: Ints
    counts: tuple[int, ...]
    classes: Ints
    positions: Ints


def resolve_cells(
    planes: Floats, width: int, rows: AxisPlan, cols: AxisPlan, cells: Ints, out: Array
) -> None:
    """Interpolate the pixels of `cells` and write their labels into `out` (H,W).

    Args:
        planes: finite float32 logits (K, h·width), contiguous.
        width: w of the logits.
        rows: plan of the height; cols: plan of the width.
        cells: flat indices into (row cells, column cells).
        out: contiguous label map of the output size.
    """
    pixels_per_cell = len(rows.slots) * len(cols.slots)
    chunk = min(_CHUNK_PIXELS // pixels_per_cell, _CHUNK_VALUES // (4 * len(planes)))
    for start in range(0, len(cells), max(chunk, 1)):
        row, col = np.divmod(cells[start : start + max(chunk, 1)], len(cols.cell_low))
        _resolve_chunk(planes, width, (rows, cols), (row, col), out)


def _resolve_chunk(
    planes: Floats, width: int, plans: tuple[AxisPlan, AxisPlan], at: tuple[Ints, Ints], out: Array
) -> None:
    """Resolve the cells at row and column indices `at`."""
    rows, cols = plans
    row, col = at
    values = _corner_values(planes, width, plans, at)
    contenders = _contenders(values)
    corners = _pair_values(values, contenders)
    row, col = row[contenders.order], col[contenders.order]
    labels = _winners(corners, contenders, plans, (row, col), out.dtype)
    first = rows.slots.take(row, axis=1) * out.shape[1]
    second = cols.slots.take(col, axis=1)
    pixels = SCRATCH.array("pixels", labels.shape, np.intp)
    np.add(first[:, None], second, out=pixels)
    out.reshape(-1)[pixels] = labels


def _corner_values(
    planes: Floats, width: int, plans: tuple[AxisPlan, AxisPlan], at: tuple[Ints, Ints]
) -> Floats:
    """Return (K,4,cells): upper left, upper right, lower left, lower right of each cell."""
    rows, cols = plans
    upper, lower = rows.cell_low[at[0]] * width, rows.cell_high[at[0]] * width
    left, right = cols.cell_low[at[1]], cols.cell_high[at[1]]
    index = np.stack((upper + left, upper + right, lower + left, lower + right))
    values = SCRATCH.array("values", (len(planes), *index.shape), np.float32)
    return planes.take(index, axis=1, out=values, mode="clip")


def _contenders(values: Floats) -> Contenders:
    """Return the classes that can win somewhere in each cell of (K,4,cells)."""
    classes = len(values)
    bound = values.min(axis=1).max(axis=0)
    bound -= np.abs(bound) * MARGIN + TINY
    possible = values.max(axis=1) >= bound
    counts = possible.sum(axis=0, dtype=np.intp)
    order = np.argsort(-counts, kind="stable")
    counts = counts[order]
    cell, label = np.divmod(np.flatnonzero(possible.T[order]), classes)
    rank = np.arange(len(cell)) - np.repeat(np.cumsum(counts) - counts, counts)
    by_rank = np.argsort(rank.astype(np.min_scalar_type(classes)), kind="stable")
    totals = tuple(int(total) for total in np.bincount(rank))
    return Contenders(order, totals, label[by_rank], order[cell[by_rank]])


def _pair_values(values: Floats, contenders: Contenders) -> Floats:
    """Return the corner values (4,pairs) of every contender."""
    cells = values.shape[2]
    index = contenders.classes * (4 * cells) + contenders.positions
    pairs = SCRATCH.array("pairs", (4, len(index)), np.float32)
    flat = values.reshape(-1)
    for corner, target in enumerate(pairs):
        flat[corner * cells :].take(index, out=target, mode="clip")
    return pairs


def _winners(
    corners: Floats,
    contenders: Contenders,
    plans: tuple[AxisPlan, AxisPlan],
    at: tuple[Ints, Ints],
    dtype: DTypeLike,
) -> Array:
    """Return each pixel's class (row slots, column slots, cells); ties go to the lowest."""
    rows, cols = plans
    shape = (len(rows.slots), len(cols.slots), len(at[0]))
    down = tuple(w.take(at[0], axis=1)[:, None] for w in (rows.slot_w_low, rows.slot_w_high))
    across = tuple(w.take(at[1], axis=1) for w in (cols.slot_w_low, cols.slot_w_high))
    labels = SCRATCH.array("labels", shape, np.dtype(dtype))
    best = SCRATCH.array("best", shape, np.float32)
    for rank, (start, count) in enumerate(_prefixes(contenders.counts)):
        pair = slice(start, start + count)
        value = _interpolate(corners[:, pair], across, down, "best" if rank == 0 else "value")
        label = contenders.classes[pair].astype(dtype)
        if rank == 0:
            labels[...] = label
            continue
        leads = SCRATCH.array("leads", value.shape, np.bool_)
        np.greater(value, best[..., :count], out=leads)
        np.maximum(value, best[..., :count], out=best[..., :count])
        # A later rank is a higher class: maximum replaces where it leads, without branches.
        claimed = SCRATCH.array("claimed", value.shape, label.dtype)
        np.multiply(leads.view(np.uint8), label, out=claimed)
        np.maximum(labels[..., :count], claimed, out=labels[..., :count])
    return labels


def _prefixes(counts: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield where the pairs of each rank start and how many there are."""
    start = 0
    for count in counts:
        yield start, count
        start += count


def _interpolate(
    corners: Floats, across: tuple[Floats, ...], down: tuple[Floats, ...], name: str
) -> Floats:
    """Blend (4,cells) columns first, then rows, into a buffer (row slots, column slots, cells)."""
    count = corners.shape[1]
    wide = (len(across[0]), count)
    sides = tuple(weight[..., :count] for weight in across)
    upper = _blend(corners[0], corners[1], sides, SCRATCH.array("upper", wide, np.float32))
    lower = _blend(corners[2], corners[3], sides, SCRATCH.array("lower", wide, np.float32))
    full = SCRATCH.array(name, (len(down[0]), *wide), np.float32)
    return _blend(upper, lower, tuple(weight[..., :count] for weight in down), full)


def _blend(low: Floats, high: Floats, weights: tuple[Floats, ...], out: Floats) -> Floats:
    """Write `low * w_low + high * w_high` to `out`: two products and a sum, each rounded."""
    spare = SCRATCH.array("spare", out.shape, np.float32)
    np.multiply(low, weights[0], out=out)
    np.multiply(high, weights[1], out=spare)
    return np.add(out, spare, out=out)


class _Scratch(threading.local):
    """Buffers kept per thread: fresh pages would cost more than the arithmetic."""

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return a contiguous uninitialised view of the buffer `name`, grown where needed."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size or buffer.dtype != dtype:
            buffer = self._buffers[name] = np.empty(size, dtype)
        return buffer[:size].reshape(shape)


SCRATCH = _Scratch()
