"""The same build N times: how far apart are engines that should be equal?

TensorRT times kernels while it builds and keeps the fastest of that moment: on a busy or throttled
device two builds differ in speed, and in the last bits of their results. No timing cache is
shared between the builds, because it would hand the first one's choices to the others.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...common.errors import InputError

Pixels = NDArray[Any]
Infer = Callable[[Pixels], Any]  # one engine's session.run
Label = Callable[[Any], NDArray[Any]]  # its outputs to labels (B,H,W)
Clock = Callable[[], float]  # seconds
WARM_UP_RUNS = 3


@dataclass(frozen=True)
class EngineTimes:
    """Milliseconds of one engine over all its runs."""

    median_ms: float
    minimum_ms: float
    maximum_ms: float


@dataclass(frozen=True)
class RebuildVariance:
    """Times per engine in the order built, and the share of pixels two engines label otherwise.

    `disagreement[i][j]` compares engine i with engine j over all images: symmetric, 0 on the
    diagonal, in 0..1.
    """

    engines: tuple[EngineTimes, ...]
    disagreement: tuple[tuple[float, ...], ...]
    images: int
    rounds: int

    @property
    def spread(self) -> float:
        """Return how much slower the slowest engine is than the fastest, by medians (0.1: 10 %)."""
        medians = [item.median_ms for item in self.engines]
        return max(medians) / min(medians) - 1

    @property
    def worst_disagreement(self) -> float:
        """Return the largest share of pixels two of the engines disagree on."""
        return max(max(row) for row in self.disagreement)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found = {"spread": self.spread, "worst_disagreement": self.worst_disagreement}
        return {**asdict(self), **found}


def rebuild_variance(
    infer: Sequence[Infer],
    label: Label,
    images: Iterable[Pixels],
    *,
    rounds: int = 20,
    clock: Clock = time.perf_counter,
) -> RebuildVariance:
    """Time equivalent engines in turns and compare their labels.

    Args:
        infer: one callable per engine, batch (B,3,H,W) to outputs.
        label: outputs to labels (B,H,W).
        images: batches every engine sees; the first is the one that is timed.
        rounds: turns each engine takes, in interleaved order.
        clock: seconds.

    Raises:
        InputError: fewer than two engines, no images, or no rounds.
    """
    batches = list(images)
    if len(infer) < 2 or not batches or rounds < 1:
        raise InputError(
            f"Expected two engines or more, an image and a round, but got {len(infer)}, "
            f"{len(batches)} and {rounds}."
        )
    pairs = np.zeros((len(infer), len(infer)))
    pixels = 0
    for batch in batches:
        maps = [np.array(label(run(batch))) for run in infer]
        pixels += maps[0].size
        for one, left in enumerate(maps):
            for other, right in enumerate(maps):
                pairs[one, other] += np.count_nonzero(left != right)
    times = _times(infer, batches[0], rounds, clock)
    shares = tuple(tuple(float(value) for value in row) for row in pairs / pixels)
    return RebuildVariance(times, shares, len(batches), rounds)


def _times(
    infer: Sequence[Infer], batch: Pixels, rounds: int, clock: Clock
) -> tuple[EngineTimes, ...]:
    for run in infer:
        for _ in range(WARM_UP_RUNS):
            run(batch)
    samples: list[list[float]] = [[] for _ in infer]
    for turn in range(rounds):
        order = range(len(infer)) if turn % 2 == 0 else reversed(range(len(infer)))
        for index in order:
            started = clock()
            infer[index](batch)
            samples[index].append(1e3 * (clock() - started))
    return tuple(EngineTimes(statistics.median(row), min(row), max(row)) for row in samples)
