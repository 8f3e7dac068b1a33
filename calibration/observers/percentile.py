"""A fixed share of the values is clipped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...common.errors import InputError
from .histogram import SIDE
from .observer import Observer

DEFAULT_PERCENTILE = 99.99


class Percentile(Observer):
    """`percentile` per cent of the values lie inside the range.

    Symmetric ranges count magnitudes; asymmetric ones clip half of the rest at either end.
    """

    def __init__(self, name: str = "the tensor", percentile: float = DEFAULT_PERCENTILE) -> None:
        """Refuse percentiles outside (50, 100]."""
        super().__init__(name)
        if not 50 < percentile <= 100:
            raise InputError(
                f"Expected a percentile above 50 and up to 100, but got {percentile}: try 99.99."
            )
        self.share = percentile / 100

    def _threshold(self, bits: int) -> float:  # noqa: ARG002 - the same for every width
        if self.share == 1:
            return self.peak
        edges = np.linspace(0, SIDE * self.histogram.width, SIDE + 1)
        return _quantile(self.histogram.folded(), edges, self.share)

    def _limits(self, bits: int) -> tuple[float, float]:  # noqa: ARG002 - as above
        if self.share == 1:
            return self.minimum, self.maximum
        edge = SIDE * self.histogram.width
        edges = np.linspace(-edge, edge, 2 * SIDE + 1)
        tail = (1 - self.share) / 2
        counts = self.histogram.counts
        low, high = (_quantile(counts, edges, share) for share in (tail, 1 - tail))
        return low, high


def _quantile(counts: NDArray[np.int64], edges: NDArray[np.float64], share: float) -> float:
    """Return the value below which `share` of the counts lies, linear inside a bin."""
    below = np.concatenate(([0], np.cumsum(counts)))
    wanted = share * below[-1]
    bin_ = min(int(np.searchsorted(below, wanted, side="left")), len(counts)) or 1
    held = below[bin_] - below[bin_ - 1]
    part = (wanted - below[bin_ - 1]) / held if held else 1.0
    return float(edges[bin_ - 1] + part * (edges[bin_] - edges[bin_ - 1]))
