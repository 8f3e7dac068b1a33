"""Intervals of every class's IoU drop, from the counts per image that a record keeps.

The same paired Poisson bootstrap over images as for the mIoU (see bootstrap.py), with the same
weights; each interval stands for its class alone and is not widened for the number of classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bootstrap import CONFIDENCE, REPLICATES, PairedBootstrap
from .confusion import INTERSECTION, PREDICTION, TRUTH
from .image_counts import unpack_counts
from .record import Accuracy

_CHUNK_IMAGES = 64
Interval = tuple[float, float]


def class_intervals(
    base: Accuracy,
    item: Accuracy,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
) -> tuple[Interval | None, ...]:
    """Return the interval of baseline IoU − candidate IoU per class, fractions of 1.

    () where a record keeps no counts or those of other images; None for a class that no
    replicate holds. `seed` is the protocol's.

    Raises:
        InputError: the counts are damaged.
    """
    if base.counts is None or item.counts is None:
        return ()
    one, other = unpack_counts(base.counts), unpack_counts(item.counts)
    if one.shape != other.shape or not len(one) or (one[..., TRUTH] != other[..., TRUTH]).any():
        return ()
    before, after = (_replicated(counts, seed, replicates) for counts in (one, other))
    differences = _iou(before) - _iou(after)
    return tuple(
        PairedBootstrap.interval(differences[:, index], confidence)
        for index in range(differences.shape[1])
    )


def _replicated(counts: NDArray[np.float64], seed: int, replicates: int) -> NDArray[np.float64]:
    """Return the class counts (R,K,3) of every replicate from those of every image (N,K,3)."""
    flat = counts.reshape(len(counts), -1)
    total = np.zeros((replicates, flat.shape[1]))
    for start in range(0, len(flat), _CHUNK_IMAGES):
        chunk = flat[start : start + _CHUNK_IMAGES]
        weights = [
            np.random.default_rng((seed, start + at)).poisson(1.0, replicates)
            for at in range(len(chunk))
        ]
        total += np.stack(weights, axis=1).astype(np.float64) @ chunk
    return total.reshape(replicates, *counts.shape[1:])


def _iou(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU = TP / (truth + predicted − TP) per class; NaN where a class is absent."""
    union = counts[..., TRUTH] + counts[..., PREDICTION] - counts[..., INTERSECTION]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(counts[..., INTERSECTION] / union)
