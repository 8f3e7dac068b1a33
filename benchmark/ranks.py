"""Two sets of raw times: which is slower, by how much, and whether noise alone would do that.

Mann and Whitney 1947 with the correction for ties; the shift is that of Hodges and Lehmann 1963, on
logarithms, so that it is a ratio. Both assume independent samples. Those of one run are not quite:
a small p-value says that two runs differ, not why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError

MINIMUM = 8  # samples a side: with fewer the normal approximation of U is off
CONFIDENCE = 0.95
_MOST = 2000  # samples a side: all pairs of them are held at once


@dataclass(frozen=True)
class RankTest:
    """`ratio` is after / before with its interval; `p_value` is two-sided."""

    ratio: float
    low: float
    high: float
    p_value: float
    share_slower: float  # of pairs in which the sample after is the greater one, ties half


def rank_test(before: Sequence[float], after: Sequence[float]) -> RankTest:
    """Compare positive samples of one quantity in one unit.

    >>> rank_test([1.0] * 10, [1.0] * 10).p_value
    1.0

    Raises:
        InputError: fewer than `MINIMUM` samples on a side, or one that is not above 0.
    """
    first, second = _logarithms(before), _logarithms(after)
    n, m = first.size, second.size
    differences = np.sort((second[:, None] - first[None, :]).ravel())
    above = float(np.count_nonzero(differences > 0))
    greater = above + float(np.count_nonzero(differences == 0)) / 2
    sigma = _sigma(np.concatenate((first, second)), n, m)
    low, high = _interval(differences, n, m, sigma)
    return RankTest(
        ratio=math.exp(float(np.median(differences))),
        low=math.exp(low),
        high=math.exp(high),
        p_value=_p_value(greater - n * m / 2, sigma),
        share_slower=greater / (n * m),
    )


def _logarithms(samples: Sequence[float]) -> NDArray[np.float64]:
    """Return the logarithms float64 (N,), evenly thinned where there are very many."""
    values = np.asarray(samples, np.float64)
    if values.size < MINIMUM or not (values > 0).all():
        raise InputError(
            f"Expected {MINIMUM} or more times above 0 for a rank test, but got {values.size} "
            f"from {values.min(initial=math.inf):g}: measure with more rounds."
        )
    if values.size > _MOST:
        values = values[np.linspace(0, values.size - 1, _MOST).astype(int)]
    return np.log(values)


def _sigma(pooled: NDArray[np.float64], n: int, m: int) -> float:
    """Return the standard deviation of U where nothing differs, ties corrected for."""
    total = n + m
    _, ties = np.unique(pooled, return_counts=True)
    tied = float((ties.astype(np.float64) ** 3 - ties).sum()) / (total * (total - 1))
    return math.sqrt(max(0.0, n * m / 12 * (total + 1 - tied)))


def _p_value(deviation: float, sigma: float) -> float:
    """Return the two-sided probability of a U this far off its mean, continuity corrected."""
    if sigma == 0:
        return 1.0
    score = max(0.0, abs(deviation) - 0.5) / sigma
    return math.erfc(score / math.sqrt(2))


def _interval(
    differences: NDArray[np.float64], n: int, m: int, sigma: float
) -> tuple[float, float]:
    """Return the interval of the median of the sorted pairwise differences (Lehmann 1975)."""
    quantile = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    rank = max(0, math.floor(n * m / 2 - quantile * sigma))
    last = differences.size - 1
    return float(differences[min(rank, last)]), float(differences[max(0, last - rank)])
