"""Raw times to a summary, and what the samples say about their own worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .record import Samples

SPREAD_LIMIT = 0.10  # IQR over median
MEDIAN_MINIMUM = 20  # samples
P99_MINIMUM = 100  # samples: with fewer, the 99th percentile is the maximum


def summarise(samples_ms: Sequence[float], warmup_ms: Sequence[float] = ()) -> Samples:
    """Return the samples (ms) with median, 90th and 99th percentile and interquartile range.

    >>> summarise([1.0, 2.0, 3.0]).median_ms
    2.0
    """
    low, median, high, p90, p99 = np.percentile(samples_ms, (25, 50, 75, 90, 99)).tolist()
    return Samples(
        samples_ms=tuple(round(value, 4) for value in samples_ms),
        warmup_ms=tuple(round(value, 4) for value in warmup_ms),
        median_ms=median,
        p90_ms=p90,
        p99_ms=p99,
        iqr_ms=high - low,
    )


def sample_warnings(
    what: str, samples: Samples, *, steady: bool = True, tail: bool = True
) -> tuple[str, ...]:
    """Return what makes these times less than trustworthy, one sentence each.

    `steady` says whether warm-up settled, `tail` whether anybody will read the 99th percentile.
    """
    found = []
    count = len(samples.samples_ms)
    if not steady:
        found.append(
            f"{what} never reached a steady state: medians of consecutive warm-up windows kept "
            "moving, so the median may drift."
        )
    spread = samples.iqr_ms / samples.median_ms if samples.median_ms > 0 else 0.0
    if spread > SPREAD_LIMIT:
        found.append(
            f"{what} spreads: the interquartile range is {100 * spread:.0f} % of the median "
            f"(limit {100 * SPREAD_LIMIT:.0f} %); measure on an idle machine."
        )
    if count < MEDIAN_MINIMUM:
        found.append(
            f"{what} has {count} samples: a median wants at least {MEDIAN_MINIMUM}; "
            "raise the rounds or the time budget."
        )
    elif tail and count < P99_MINIMUM:
        found.append(
            f"{what} has {count} samples: the 99th percentile wants at least {P99_MINIMUM}; "
            "do not read p99."
        )
    return tuple(found)


def is_steady(warmup_ms: Sequence[float], window: int, tolerance: float) -> bool:
    """Say whether the medians of the last two windows differ by less than `tolerance` (a share).

    >>> is_steady([9.0, 5.0, 1.0, 1.0, 1.0, 1.01], 2, 0.03)
    True
    """
    if len(warmup_ms) < 2 * window:
        return False
    before = float(np.median(warmup_ms[-2 * window : -window]))
    after = float(np.median(warmup_ms[-window:]))
    return abs(after - before) < tolerance * max(before, after)
