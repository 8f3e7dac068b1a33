"""Scales of weights: one per output channel, from the greatest magnitude."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError


def weight_scales(weight: NDArray[np.float32], axis: int, bits: int = 8) -> NDArray[np.float32]:
    """Return the symmetric scale of every slice along `axis`: max|w| / (2^(bits-1) - 1).

    A slice of zeros gets 1, so that its zeros stay zeros. The result is (weight.shape[axis],).

    >>> weight_scales(np.array([[127.0, -254.0], [0.0, 0.0]], np.float32), 0)
    array([2., 1.], dtype=float32)

    Raises:
        InputError: no such axis, or a weight is not finite.
    """
    if not -weight.ndim <= axis < weight.ndim:
        raise InputError(f"Expected an axis of a weight {weight.shape}, but got {axis}.")
    others = tuple(index for index in range(weight.ndim) if index != axis % weight.ndim)
    peaks = np.abs(weight).max(axis=others)
    if not np.isfinite(peaks).all():
        channel = int(np.flatnonzero(~np.isfinite(peaks))[0])
        raise InputError(
            f"Expected finite weights, but channel {channel} of a weight {weight.shape} is not: "
            "check the checkpoint."
        )
    return np.where(peaks > 0, peaks / (2 ** (bits - 1) - 1), 1).astype(np.float32)
