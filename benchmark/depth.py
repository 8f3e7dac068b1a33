"""Depth errors over all valid pixels of a data set, streamed image by image.

Valid is a truth that is finite and above 0. Predictions come in the data set's unit. RMSE-log and
the deltas need a positive prediction: one below `FLOOR` is raised to it there, as the usual
evaluation code does, and counted.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from .record import DepthAccuracy

FLOOR = 1e-3
METRICS = ("abs_rel", "mae", "rmse", "rmse_log", "delta1", "delta2", "delta3")
_RATIO = 1.25


class DepthErrors:
    """Streaming sums of one model, in float64."""

    def __init__(self) -> None:
        """Start at zero pixels."""
        self.pixels = 0
        self.clamped = 0
        self._sums = np.zeros(len(METRICS))

    def update(self, truth: NDArray[Any], prediction: NDArray[Any], name: str = "an image") -> None:
        """Add one image: truth and prediction (H,W) in the data set's unit.

        Raises:
            InputError: sizes differ, or a prediction is NaN or infinite.
        """
        if truth.shape != prediction.shape:
            raise InputError(
                f"Expected depth of {name} at the truth's size {truth.shape}, "
                f"but got {prediction.shape}."
            )
        valid = np.isfinite(truth) & (truth > 0)
        want, got = truth[valid].astype(np.float64), prediction[valid].astype(np.float64)
        if not np.isfinite(got).all():
            raise InputError(
                f"Expected finite depth for {name}, but got NaN or infinity: the model "
                "overflowed, try a wider precision."
            )
        positive = np.maximum(got, FLOOR)
        self.clamped += int(np.count_nonzero(got < FLOOR))
        self.pixels += want.size
        error = np.abs(got - want)
        ratio = np.maximum(positive / want, want / positive)
        self._sums += (
            (error / want).sum(),
            error.sum(),
            np.square(error).sum(),
            np.square(np.log(positive) - np.log(want)).sum(),
            *(np.count_nonzero(ratio < _RATIO**power) for power in (1, 2, 3)),
        )

    def result(self) -> DepthAccuracy | None:
        """Return the metrics over all pixels so far; None where none was valid."""
        if not self.pixels:
            return None
        means = dict(zip(METRICS, (self._sums / self.pixels).tolist(), strict=True))
        for name in ("rmse", "rmse_log"):
            means[name] = math.sqrt(means[name])
        return DepthAccuracy(pixels=self.pixels, clamped_pixels=self.clamped, **means)


def with_change(item: DepthAccuracy, base: DepthAccuracy) -> DepthAccuracy:
    """Return `item` with its difference to the baseline per metric, item − base."""
    change = {name: getattr(item, name) - getattr(base, name) for name in METRICS}
    return replace(item, change=change)
