"""The values an integer grid can hold, and the power of the error it makes on a histogram."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .histogram import SIDE, Histogram

Floats = NDArray[np.float64]


def grid(low: float, high: float, *, symmetric: bool, bits: int = 8) -> tuple[float, int, int]:
    """Return (step, first, last): the grid is `step · first … step · last`.

    Symmetric grids leave out the most negative integer (-127 to 127), asymmetric ones have all
    with the zero point rounded.

    >>> grid(-254.0, 254.0, symmetric=True)
    (2.0, -127, 127)
    >>> grid(0.0, 510.0, symmetric=False)
    (2.0, 0, 255)
    """
    if symmetric:
        largest = 2 ** (bits - 1) - 1
        return high / largest, -largest, largest
    steps = 2**bits - 1
    step = (high - low) / steps
    first = round(low / step)
    return step, first, first + steps


class ErrorPower:
    """Mean squares of values and of their quantization errors, from sums over a histogram.

    Values are taken as spread evenly within a bin.
    """

    def __init__(self, histogram: Histogram) -> None:
        """Sum counts, values and squares up to every bin once."""
        counts, centres = histogram.counts.astype(np.float64), histogram.centres
        self._width = histogram.width
        self._sums = [_running(counts * centres**power) for power in (0, 1, 2)]
        self.total = float(self._sums[0][-1])
        self.signal = (float(self._sums[2][-1]) + self.total * self._width**2 / 12) / self.total

    def noise(self, low: float, high: float, *, symmetric: bool, bits: int = 8) -> float:
        """Return the mean squared error of quantizing on the grid of [low, high]."""
        step, first, last = grid(low, high, symmetric=symmetric, bits=bits)
        levels = np.arange(first, last + 1) * step
        edges = self._bins(np.asarray((np.arange(first, last) + 0.5) * step, np.float64))
        if step < self._width:  # the levels within a bin are all used: a step's own error
            clipped = self._clipped(levels[0], levels[-1])
            return (clipped[0] + (self.total - clipped[1]) * step**2 / 12) / self.total
        ends = np.concatenate(([0], edges, [2 * SIDE]))
        count, value, square = (np.diff(sums[ends]) for sums in self._sums)
        error = float((square - 2 * levels * value + levels**2 * count).sum())
        return max(error, 0.0) / self.total + self._width**2 / 12

    def _clipped(self, low: float, high: float) -> tuple[float, float]:
        """Return the squared error beyond [low, high] and the number of values there."""
        left, right = self._bins(np.array([low, high]))
        error = number = 0.0
        for level, start, end in ((low, 0, left), (high, right, 2 * SIDE)):
            count, value, square = (float(sums[end] - sums[start]) for sums in self._sums)
            error += max(square - 2 * level * value + level**2 * count, 0.0)
            number += count
        return error, number

    def _bins(self, edges: Floats) -> NDArray[np.int64]:
        """Return the first bin whose centre is not below each edge."""
        bins = np.ceil(edges / self._width - 0.5).astype(np.int64) + SIDE
        return np.clip(bins, 0, 2 * SIDE)


def to_db(signal: float, noise: float) -> float:
    """Return 10·log10(signal / noise); infinite without noise or signal.

    >>> to_db(100.0, 1.0)
    20.0
    """
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else math.inf


def _running(values: Floats) -> Floats:
    return np.concatenate(([0.0], np.cumsum(values)))
