"""Scales of INT8 that FP16 can hold, so that Q/DQ may stand between FP16 tensors without casts.

A scale is rounded up to the next FP16 number before anything is quantized with it: the int8 values
fit the scale in the file, and nothing is clipped that was not. Steps of 2^-24 between the numbers
below 2^-14 make a scale of 2^-18 coarser by 1/64 at most; FP16 does not hold what is smaller.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..scaling.fp16 import FP16_MAX, FP16_SMALLEST_NORMAL

SMALLEST = 2.0**-18
LARGEST = FP16_MAX / 128  # -128 steps are the most a DequantizeLinear makes
_ZEROS = 2.0**-25 / 127  # all that this step spans is zero in FP16


def half_scale(step: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `step` in numbers FP16 holds, none smaller than before; as it is where one has none.

    Steps of what is zero in FP16 become 2^-14: a scale of 0 is refused by TensorRT's parser.

    >>> half_scale(np.array([0.1, 1e-30], np.float32))
    array([1.0003662e-01, 6.1035156e-05], dtype=float32)
    >>> half_scale(np.array(1e-6, np.float32))
    array(1.e-06, dtype=float32)
    """
    spans = np.where(step <= _ZEROS, np.float32(FP16_SMALLEST_NORMAL), step)
    with np.errstate(over="ignore"):
        near = spans.astype(np.float16)
        above = np.nextafter(near, np.float16(np.inf))
    up = np.where(near.astype(np.float32) < spans, above, near).astype(np.float32)
    fits = bool(((up >= SMALLEST) & (up <= LARGEST)).all())
    return np.asarray(up if fits else step, np.float32)


def is_half(step: NDArray[np.float32]) -> bool:
    """Say whether every one of the scales is an FP16 number large enough to be one."""
    with np.errstate(over="ignore"):
        same = step.astype(np.float16).astype(np.float32) == step
    return bool((same & (step >= SMALLEST)).all())
