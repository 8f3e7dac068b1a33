"""Choose images so that every class is met, the rare ones too."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError

_MISSED = 0.1  # chance that a step's random candidates hold none of the best choices left


def choose_stratified(counts: NDArray[np.int64], count: int, *, seed: int = 0) -> tuple[int, ...]:
    """Return `count` indices of `counts` (images, classes), ascending; all where there are fewer.

    First every class that occurs gets an image, the rarest class first, as far as `count` allows.
    The rest is chosen greedily from random candidates by Σ √(share of a class's pixels held), so
    that a class held already counts less.

    Raises:
        InputError: `count` is below 1, or there is nothing to choose from.
    """
    total = len(counts)
    if count < 1 or total < 1:
        raise InputError(f"Expected at least 1 image to choose, but got {count} of {total}.")
    if count >= total:
        return tuple(range(total))
    random = np.random.Generator(np.random.PCG64(seed))
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    chosen = _one_of_each(counts, count, random)
    held = shares[chosen].sum(axis=0)
    size = math.ceil(total / count * math.log(1 / _MISSED))
    while len(chosen) < count:
        left = np.setdiff1d(np.arange(total), chosen)
        drawn = random.choice(left, size=min(size, len(left)), replace=False)
        gains = (np.sqrt(held + shares[drawn]) - np.sqrt(held)).sum(axis=1)
        chosen.append(int(drawn[int(gains.argmax())]))
        held = held + shares[chosen[-1]]
    return tuple(sorted(chosen))


def _one_of_each(counts: NDArray[np.int64], count: int, random: np.random.Generator) -> list[int]:
    """Return an image for every class that occurs; where it fills little, the chance is small."""
    chosen: list[int] = []
    seen = counts.sum(axis=0)
    for class_ in np.argsort(seen, kind="stable"):
        if len(chosen) == count or not seen[class_] or (counts[chosen, class_] > 0).any():
            continue
        chances = counts[:, class_] / seen[class_]
        chosen.append(int(random.choice(len(counts), p=chances)))
    return chosen
