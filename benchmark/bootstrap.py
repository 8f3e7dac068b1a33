"""Paired Poisson bootstrap over images: the interval of a mIoU drop in constant memory.

Each of R replicates weights every image with an independent Poisson(1) draw (Hanley and MacGibbon
2006, Chamandy et al. 2012): the streaming form of resampling images with replacement. Baseline and
candidates get the same weights, so what varies between images and not between models cancels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .confusion import Counts, miou
from .record import Drop

_CHUNK_IMAGES = 64
REPLICATES = 1000
CONFIDENCE = 0.95


class PairedBootstrap:
    """Weighted class counts of every replicate for M models (index 0 is the baseline)."""

    def __init__(
        self,
        models: int,
        classes: int,
        *,
        replicates: int = REPLICATES,
        seed: int = 0,
        keep: NDArray[np.bool_] | None = None,
    ) -> None:
        """Start empty; memory is models·replicates·classes·3 float64 and a chunk of images.

        `keep` (K,) marks the classes in the mean; None takes all.
        """
        self.keep = keep
        self.replicates = replicates
        self.seed = seed
        self._shape = (replicates, models, classes, 3)
        self._totals = np.zeros((replicates, models * classes * 3))
        self._counts = np.zeros((_CHUNK_IMAGES, models * classes * 3))
        self._weights = np.zeros((replicates, _CHUNK_IMAGES))
        self._filled = 0

    def add(self, image: int, counts: Counts) -> None:
        """Add counts float64 (M,K,3) of image number `image`; the number seeds its weights."""
        generator = np.random.default_rng((self.seed, image))
        self._weights[:, self._filled] = generator.poisson(1.0, self.replicates)
        self._counts[self._filled] = counts.reshape(-1)
        self._filled += 1
        if self._filled == _CHUNK_IMAGES:
            self._flush()

    def drop(self, model: int, *, miou_drop: float, confidence: float = CONFIDENCE) -> Drop | None:
        """Return the measured `miou_drop` with the percentile interval of baseline − model.

        Replicates in which no class was left are skipped; None where none is left at all.
        """
        interval = self.interval(self.differences(model), confidence)
        if interval is None:
            return None
        return Drop(miou_drop, interval[0], interval[1], confidence, self.replicates)

    def differences(self, model: int) -> NDArray[np.float64]:
        """Return baseline mIoU − model mIoU of every replicate, float64 (R,)."""
        totals = self.totals()
        return np.asarray(miou(totals[:, 0], self.keep) - miou(totals[:, model], self.keep))

    def totals(self) -> NDArray[np.float64]:
        """Return the weighted counts of every replicate, float64 (R,M,K,3)."""
        self._flush()
        return self._totals.reshape(self._shape)

    @staticmethod
    def interval(differences: NDArray[np.float64], confidence: float) -> tuple[float, float] | None:
        """Return the central percentile interval of the finite values, or None without any."""
        finite = differences[np.isfinite(differences)]
        if not finite.size:
            return None
        tail = (1 - confidence) / 2
        low, high = np.quantile(finite, (tail, 1 - tail))
        return float(low), float(high)

    def _flush(self) -> None:
        filled, self._filled = self._filled, 0
        if filled:
            self._totals += self._weights[:, :filled] @ self._counts[:filled]
