"""Per-class intervals: the weights of the mIoU's bootstrap, nothing where counts are missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segship.benchmark.bootstrap import PairedBootstrap
from segship.benchmark.class_intervals import class_intervals
from segship.benchmark.image_counts import pack_counts
from segship.benchmark.record import Accuracy

EMPTY = Accuracy(0, 0.0, (), 0.0, ())


def image_counts(classes: int, images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return counts (N,K,3) of a baseline and of a candidate that loses class 1 alone."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(50, 100, (images, classes)).astype(float)
    hit = np.floor(truth * 0.8)
    base = np.stack([hit, truth, truth], axis=-1)
    worse = base.copy()
    worse[:, 1, 0] = np.floor(hit[:, 1] * generator.uniform(0.4, 0.8, images))
    return base, worse


def accuracy(counts: np.ndarray) -> Accuracy:
    return replace(EMPTY, counts=pack_counts(list(counts)))


def test_only_the_class_that_lost_has_an_interval_above_zero() -> None:
    base, worse = image_counts(3, 70, seed=1)
    found = class_intervals(accuracy(base), accuracy(worse), replicates=200)
    assert found[0] == found[2] == (0.0, 0.0)
    assert found[1] is not None
    low, high = found[1]
    exact = [c[:, 1, 0].sum() / (2 * c[:, 1, 1].sum() - c[:, 1, 0].sum()) for c in (base, worse)]
    assert 0.1 < low < exact[0] - exact[1] < high < 0.6


def test_one_class_has_the_interval_of_the_miou() -> None:
    base, worse = (counts[:, 1:2] for counts in image_counts(2, 70, seed=2))
    boot = PairedBootstrap(2, 1, replicates=100, seed=7)
    for index, pair in enumerate(zip(base, worse, strict=True)):
        boot.add(index, np.stack(pair))
    wanted = boot.interval(boot.differences(1), 0.95)
    (found,) = class_intervals(accuracy(base), accuracy(worse), seed=7, replicates=100)
    assert found == pytest.approx(wanted, abs=1e-12)  # sums in another order


def test_absent_classes_and_other_images_have_none() -> None:
    base, worse = image_counts(3, 5, seed=3)
    base[:, 2], worse[:, 2] = 0, 0
    assert class_intervals(accuracy(base), accuracy(worse), replicates=20)[2] is None
    assert class_intervals(accuracy(base), EMPTY) == ()
    assert class_intervals(accuracy(base), accuracy(worse[:4])) == ()
    worse[0, 0, 1] += 1
    assert class_intervals(accuracy(base), accuracy(worse), replicates=20) == ()
