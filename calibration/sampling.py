"""Choose images of a data set, the same ones for the same seed on every machine."""

from __future__ import annotations

import numpy as np

from ..common.errors import InputError


def choose_images(total: int, count: int, *, seed: int = 0) -> tuple[int, ...]:
    """Return `count` different indices below `total`, ascending; all of them where there are fewer.

    A random choice and not the first ones: neighbouring frames of a video say the same.

    >>> choose_images(5, 9)
    (0, 1, 2, 3, 4)

    Raises:
        InputError: `count` is below 1, or there is nothing to choose from.
    """
    if count < 1 or total < 1:
        raise InputError(f"Expected at least 1 image to choose, but got {count} of {total}.")
    if count >= total:
        return tuple(range(total))
    chosen = np.random.Generator(np.random.PCG64(seed)).choice(total, size=count, replace=False)
    return tuple(sorted(int(index) for index in chosen))
