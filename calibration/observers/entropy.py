"""The range whose quantized distribution tells least from the true one (Kullback-Leibler).

After the published description of TensorRT's calibration (S. Migacz, "8-bit Inference with
TensorRT", GTC 2017): for every number of bins i, the values beyond i are put into bin i (P), the
bins up to i are joined into as many levels as the integer has and spread again over the bins that
are not empty (Q); the i with the least KL(P‖Q) gives the threshold. Where bin i itself is empty,
Q would give the tail no chance and the loss would be infinite: there Q gets one value, so that a
lone outlier beyond a gap can be cut.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .histogram import SIDE
from .observer import Observer

BINS = 2048  # the description's; [0, max] fills this many or up to twice as many here
_BLOCK = 256  # candidates whose levels are summed at once: 0.3 MiB a table

Floats = NDArray[np.float64]


class Entropy(Observer):
    """The threshold on magnitudes that loses least information.

    Exact zeros fit every grid, so the bin at zero counts as its neighbour does (the zeros of a
    ReLU would otherwise shrink every range). An asymmetric range uses all levels for a tensor of
    one sign and cuts either end at the threshold of the magnitudes for one of both.
    """

    def _threshold(self, bits: int) -> float:
        return self._clipped(2 ** (bits - 1))

    def _limits(self, bits: int) -> tuple[float, float]:
        one_sided = self.minimum >= 0 or self.maximum <= 0
        threshold = self._clipped(2**bits if one_sided else 2 ** (bits - 1))
        return max(self.minimum, -threshold), min(self.maximum, threshold)

    def _clipped(self, levels: int) -> float:
        joined = SIDE // 2 // BINS
        counts = self.histogram.folded().reshape(-1, joined).sum(axis=1).astype(np.float64)
        width = self.histogram.width * joined
        used = int(self.peak / width) + 1
        counts = counts[:used]
        if used <= levels or not counts[1:].any():
            return self.peak
        counts[0] = counts[1]
        losses = divergences(counts, levels)
        best = len(losses) - 1 - int(np.argmin(losses[::-1]))  # the widest of equals
        return (levels + best) * width


def divergences(counts: Floats, levels: int) -> Floats:
    """Return KL(P‖Q) for thresholds after `levels`, `levels` + 1, … `len(counts)` bins.

    `counts` (N,) are not negative, N ≥ `levels`, their sum positive. Infinite where all values
    lie beyond the threshold.
    """
    after = np.arange(levels, len(counts) + 1)
    blocks = [
        _block(counts, after[start : start + _BLOCK], levels)
        for start in range(0, len(after), _BLOCK)
    ]
    return np.concatenate(blocks)


def _block(counts: Floats, after: NDArray[np.int64], levels: int) -> Floats:
    """KL of some candidates: sums over levels from running sums, no bin touched twice."""
    below, filled, entropy = (_running(x) for x in (counts, counts > 0, _xlogx(counts)))
    edges = -(-np.arange(levels + 1) * after[:, None] // levels)  # first bin of each level
    mass = np.diff(below[edges], axis=1)
    spread = mass / np.maximum(np.diff(filled[edges], axis=1), 1)
    total, inside, last = below[-1], below[after], counts[after - 1]
    beyond = total - inside
    added = (last == 0) & (beyond > 0)  # the one value of Q; its logarithm is 0
    mass[:, -1] += np.where(added, 0, beyond)  # P's last bin holds the tail; Q's does not
    cross = (mass * np.log(np.where(spread > 0, spread, 1.0))).sum(axis=1)
    own = entropy[after - 1] + _xlogx(last + beyond)
    loss = (own - cross) / total - np.log(total) + np.log(inside + added)
    loss[inside == 0] = np.inf
    return np.asarray(loss)


def _running(values: NDArray[np.generic]) -> Floats:
    return np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))


def _xlogx(values: Floats) -> Floats:
    return np.asarray(values * np.log(np.where(values > 0, values, 1.0)))
