"""Intervals of a mean difference from few repeats: Student's t, equal variances (Student 1908)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

_STEPS = 200_001


@lru_cache
def quantile(confidence: float, freedom: int) -> float:
    """Return the two-sided quantile of Student's t, by integrating its density.

    With x = √ν·tan θ the density becomes cos^(ν−1) θ on (−π/2, π/2).

    >>> round(quantile(0.95, 1), 2), round(quantile(0.95, 4), 3), round(quantile(0.9, 30), 3)
    (12.71, 2.776, 1.697)
    """
    angles = np.linspace(-np.pi / 2, np.pi / 2, _STEPS)
    density = np.cos(angles) ** (freedom - 1)
    area = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    angle = np.interp((1 + confidence) / 2, area / area[-1], angles)
    return math.sqrt(freedom) * math.tan(float(angle))


def difference(
    first: Sequence[float], second: Sequence[float], confidence: float
) -> tuple[float, float, float]:
    """Return mean(second) − mean(first) with its interval; together they need three values."""
    n, m = len(first), len(second)
    freedom = n + m - 2
    squares = sum((x - sum(row) / len(row)) ** 2 for row in (first, second) for x in row)
    change = sum(second) / m - sum(first) / n
    half = quantile(confidence, freedom) * math.sqrt(squares / freedom * (1 / n + 1 / m))
    return change, change - half, change + half
