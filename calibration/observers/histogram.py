"""A histogram that widens by doubling: bounded memory, and the same result in any order."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SIDE = 8192  # bins on each side of zero: 128 KiB a tensor, 32 or more bins per step of 8 bits
_CHUNK = 1 << 20  # values binned at once: 12 MiB of temporaries
_SMALLEST = -100  # exponent of the narrowest histogram, 2**-100

Counts = NDArray[np.int64]


class Histogram:
    """Counts of values in `2 · SIDE` equal bins over [-2^k, 2^k).

    k is the least for which every value fits. A bin's width is a power of two, so that scaling is
    exact and doubling joins pairs of bins: the counts depend on the values, not on their order.
    """

    def __init__(self) -> None:
        """Start empty and as narrow as possible."""
        self.exponent = _SMALLEST
        self.counts: Counts = np.zeros(2 * SIDE, np.int64)

    @property
    def width(self) -> float:
        """The width of a bin, in the tensor's unit."""
        return math.ldexp(1.0, self.exponent) / SIDE

    @property
    def total(self) -> int:
        """The number of values counted."""
        return int(self.counts.sum())

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of every bin, ascending (2·SIDE,) float64."""
        return np.asarray((np.arange(-SIDE, SIDE) + 0.5) * self.width, np.float64)

    def add(self, values: NDArray[np.float32], peak: float) -> None:
        """Count finite `values`, none of which is above `peak` in magnitude."""
        self._widen(peak)
        scale = np.float32(math.ldexp(1.0, -self.exponent) * SIDE)
        flat = values.reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            bins = np.floor(flat[start : start + _CHUNK] * scale).astype(np.int32)
            bins += SIDE
            self.counts += np.bincount(bins, minlength=2 * SIDE)

    def folded(self) -> Counts:
        """Return the counts of the magnitudes (SIDE,), bin 0 at zero."""
        folded: Counts = self.counts[SIDE:] + self.counts[:SIDE][::-1]
        return folded

    def share_outside(self, low: float, high: float) -> float:
        """Return the share of the values below `low` or above `high`, even inside a bin."""
        if not self.total:
            return 0.0
        edges = np.arange(-SIDE, SIDE + 1) * self.width
        below = np.concatenate(([0], np.cumsum(self.counts)))
        inside = np.interp(high, edges, below) - np.interp(low, edges, below)
        return float(max(0.0, 1.0 - inside / self.total))

    def _widen(self, peak: float) -> None:
        """Double the range until `peak` lies inside, joining bins."""
        wanted = max(math.frexp(peak)[1], _SMALLEST)
        if wanted <= self.exponent:
            return
        shift = min(wanted - self.exponent, 40)  # 13 already join a whole side into one bin
        joined = np.zeros_like(self.counts)
        np.add.at(joined, (np.arange(-SIDE, SIDE) >> shift) + SIDE, self.counts)
        self.counts, self.exponent = joined, wanted
