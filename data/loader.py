"""Samples made ready for a session while the session is busy with the ones before."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from .contract import Contract
from .dataset import Dataset
from .palette import Image8, Labels
from .preprocess import preprocess

_READY_AHEAD = 2  # samples that may wait finished, beyond the ones being worked on


@dataclass(frozen=True)
class Prepared:
    """A sample and its input: `pixels` (1,3,H,W) as the contract says.

    `image` (h,w,3) uint8, `labels` (h,w) and `depth` (h,w) float32 have the stored size; `depth`
    is None for data without depth, 0 where it is not known.
    """

    index: int
    name: str
    pixels: NDArray[Any]
    labels: Labels
    image: Image8
    depth: NDArray[np.float32] | None = None


def prefetch(
    dataset: Dataset,
    contract: Contract,
    *,
    workers: int | None = None,
    indices: Sequence[int] | None = None,
    limit: int | None = None,
) -> Iterator[Prepared]:
    """Yield samples in order, decoded and preprocessed by `workers` threads ahead of time.

    At most `workers` + 2 samples exist at once besides those the caller keeps, however large the
    data set is. `indices` chooses and orders samples, `limit` ends after so many. Closing the
    iterator (or leaving its loop) stops the threads.

    Raises:
        InputError: what reading a sample raised, at that sample's turn; wrong arguments.
    """
    count = workers if workers is not None else _default_workers()
    if count < 1 or (limit is not None and limit < 1):
        raise InputError(
            f"Expected 1 worker and 1 sample or more, but got {count} workers, limit {limit}."
        )
    chosen = range(len(dataset)) if indices is None else indices
    wrong = [index for index in chosen if not 0 <= index < len(dataset)] if indices else []
    if wrong:
        raise InputError(
            f"Expected samples 0 to {len(dataset) - 1} of {dataset.name}, but got {wrong[0]}."
        )
    return _in_order(dataset, contract, count, chosen[:limit])


def prepare(dataset: Dataset, index: int, contract: Contract) -> Prepared:
    """Read one sample and preprocess its image."""
    sample = dataset.sample(index)
    pixels = preprocess(sample.image, contract)
    return Prepared(index, sample.name, pixels, sample.labels, sample.image, sample.depth)


def _in_order(
    dataset: Dataset, contract: Contract, workers: int, indices: Sequence[int]
) -> Iterator[Prepared]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="segship-prefetch")
    waiting: deque[Future[Prepared]] = deque()
    coming = iter(indices)
    try:
        for index in islice(coming, workers + _READY_AHEAD):
            waiting.append(pool.submit(prepare, dataset, index, contract))
        while waiting:
            ready = waiting.popleft().result()
            for index in islice(coming, 1):
                waiting.append(pool.submit(prepare, dataset, index, contract))
            yield ready
            del ready  # the caller's copy must not live on here while the next is awaited
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _default_workers() -> int:
    """Return one thread per two processors, at most four: the session needs the others."""
    return max(1, min(4, (os.cpu_count() or 1) // 2))
