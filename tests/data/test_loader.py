"""Prefetching: order, errors, early stops, bounded memory."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from segship.common.errors import InputError
from segship.data.contract import Contract, InputKind
from segship.data.dataset import Dataset, Sample
from segship.data.loader import prefetch
from segship.data.preprocess import preprocess
from segship.data.scenes import Scenes

CONTRACT = Contract(size_px=(32, 48))


class Counting(Dataset):
    """Samples filled with their index; says which were read, and fails where told."""

    def __init__(self, count: int, *, broken: int = -1, gate: threading.Event | None = None):
        self.name, self.classes, self.palette, self.ignore_index = "counting", ("a",), (), 255
        self.count, self.broken, self.gate = count, broken, gate
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int) -> Sample:
        self.read.append(index)
        if self.gate is not None and index == 0:
            self.gate.wait(10)
        if index == self.broken:
            raise InputError(f"image {index} is broken")
        image = np.full((32, 48, 3), index % 251, np.uint8)
        return Sample(str(index), None, image, np.zeros((32, 48), np.uint8))

    def image_bytes(self, index: int) -> bytes:
        return bytes([index % 251])

    def digest(self) -> str:
        return ""


def our_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("segship-prefetch")]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_samples_come_in_order_though_the_first_takes_longest(workers: int) -> None:
    gate = threading.Event()
    dataset = Counting(12, gate=gate)
    timer = threading.Timer(0.1, gate.set)
    timer.start()
    found = [item.index for item in prefetch(dataset, CONTRACT, workers=workers)]
    timer.join()
    assert found == list(range(12))
    assert our_threads() == []


def test_each_item_holds_what_the_data_set_and_the_contract_say() -> None:
    scenes = Scenes(3)
    contract = Contract(size_px=(64, 96), input=InputKind.UINT8)
    for item in prefetch(scenes, contract):
        sample = scenes.sample(item.index)
        assert item.name == sample.name
        assert np.array_equal(item.image, sample.image)
        assert np.array_equal(item.labels, sample.labels)
        assert np.array_equal(item.pixels, preprocess(sample.image, contract))
        assert item.pixels.dtype == np.uint8


def test_indices_choose_and_order_and_limit_ends() -> None:
    dataset = Counting(10)
    found = [i.name for i in prefetch(dataset, CONTRACT, indices=[7, 2, 2, 9], limit=3)]
    assert found == ["7", "2", "2"]
    assert sorted(dataset.read) == [2, 2, 7]
    assert [i.index for i in prefetch(dataset, CONTRACT, limit=99)] == list(range(10))
    assert list(prefetch(dataset, CONTRACT, indices=[])) == []


def test_an_error_comes_at_its_samples_turn_and_stops_the_threads() -> None:
    seen = []
    with pytest.raises(InputError, match="image 4 is broken"):
        for item in prefetch(Counting(100, broken=4), CONTRACT, workers=3):
            seen.append(item.index)
    assert seen == [0, 1, 2, 3]
    assert our_threads() == []


@pytest.mark.parametrize("workers", [1, 3])
def test_stopping_early_stops_reading(workers: int) -> None:
    dataset = Counting(1000)
    stream: Iterator[object] = prefetch(dataset, CONTRACT, workers=workers)
    next(stream)
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # a generator, which the annotation hides
    assert our_threads() == []
    assert len(dataset.read) <= 2 + workers + 2


def test_an_unused_iterator_reads_nothing() -> None:
    dataset = Counting(5)
    prefetch(dataset, CONTRACT)
    assert dataset.read == []


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"limit": 0}, {"indices": [1, 5]}])
def test_wrong_arguments_are_refused_at_the_call(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        prefetch(Counting(5), CONTRACT, **wrong)


def peak_bytes(count: int) -> int:
    tracemalloc.start()
    try:
        seen = sum(1 for _ in prefetch(Counting(count), CONTRACT, workers=2))
        assert seen == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_data_set() -> None:
    peak_bytes(20)  # imports and caches
    small, large = peak_bytes(200), peak_bytes(2000)
    one_sample = 32 * 48 * (3 + 1 + 12)
    # the fake's own list of read indices grows by eight bytes a sample; samples must not stay
    assert large - small < one_sample * 2 + 1800 * 8 * 2
    assert large < one_sample * 12
