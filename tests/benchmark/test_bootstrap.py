"""The Poisson bootstrap against brute-force resampling of images with replacement."""

from __future__ import annotations

import numpy as np
import pytest

from segship.benchmark.bootstrap import PairedBootstrap
from segship.benchmark.confusion import miou


def counts_of_images(images: int, classes: int, seed: int) -> np.ndarray:
    """Counts (images,2,K,3) of two models of unequal quality; images vary a lot in difficulty."""
    generator = np.random.default_rng(seed)
    truth = generator.poisson(400, (images, 1, classes)).astype(float)
    quality = generator.beta(8, 3, (images, 1, classes)) * np.array([1.0, 0.94])[None, :, None]
    hit = np.floor(truth * quality)
    predicted = hit + generator.poisson(60, (images, 2, classes))
    return np.stack([hit, np.broadcast_to(truth, hit.shape), predicted], axis=-1)


def poisson_differences(counts: np.ndarray, seed: int = 0, replicates: int = 1000) -> np.ndarray:
    bootstrap = PairedBootstrap(2, counts.shape[2], replicates=replicates, seed=seed)
    for number, image in enumerate(counts):
        bootstrap.add(number, image)
    return bootstrap.differences(1)


def interval_of(differences: np.ndarray) -> tuple[float, float]:
    interval = PairedBootstrap.interval(differences, 0.95)
    assert interval is not None
    return interval


def multinomial_differences(counts: np.ndarray, replicates: int = 4000) -> np.ndarray:
    generator = np.random.default_rng(99)
    drops = []
    for _ in range(replicates):
        chosen = generator.integers(0, len(counts), len(counts))
        total = counts[chosen].sum(axis=0)
        drops.append(float(miou(total[0]) - miou(total[1])))
    return np.array(drops)


@pytest.mark.parametrize("images", [40, 150])
def test_interval_agrees_with_the_brute_force_bootstrap(images: int) -> None:
    counts = counts_of_images(images, 5, seed=images)
    low, high = interval_of(poisson_differences(counts, replicates=4000))
    want_low, want_high = np.quantile(multinomial_differences(counts), (0.025, 0.975))
    width = want_high - want_low
    # 4000 draws locate a 2.5 % quantile to about 3 % of the interval's width; 10 % is 3 sigma.
    assert abs(low - want_low) < 0.1 * width
    assert abs(high - want_high) < 0.1 * width


def test_interval_covers_the_true_drop_about_as_often_as_it_says() -> None:
    population = counts_of_images(20_000, 4, seed=1).sum(axis=0)
    true_drop = float(miou(population[0]) - miou(population[1]))
    covered = 0
    for trial in range(120):
        differences = poisson_differences(counts_of_images(60, 4, seed=100 + trial), replicates=400)
        low, high = interval_of(differences)
        covered += low <= true_drop <= high
    assert 0.88 <= covered / 120 <= 1.0  # binomial(120, .95) falls below .88 once in 900


def test_pairing_makes_equal_models_differ_by_nothing() -> None:
    counts = counts_of_images(70, 5, seed=3)
    counts[:, 1] = counts[:, 0]
    assert not poisson_differences(counts).any()


def test_same_seed_same_interval_and_chunks_do_not_matter() -> None:
    counts = counts_of_images(130, 3, seed=4)
    assert np.array_equal(poisson_differences(counts, seed=7), poisson_differences(counts, seed=7))
    assert not np.array_equal(poisson_differences(counts, 7), poisson_differences(counts, 8))
    late = PairedBootstrap(2, 3, seed=7)
    for number, image in enumerate(counts):
        late.add(number, image)
        late.differences(1)  # reading early must not change what comes later
    # Sums of integers below 2^53 are exact, so the order of summing cannot show.
    assert np.array_equal(late.differences(1), poisson_differences(counts, seed=7))


def test_one_image_gives_a_finite_interval() -> None:
    bootstrap = PairedBootstrap(2, 3, replicates=50)
    bootstrap.add(0, counts_of_images(1, 3, seed=5)[0])
    drop = bootstrap.drop(1, miou_drop=0.1)
    assert drop is not None and drop.miou == 0.1 and drop.resamples == 50
    assert np.isfinite([drop.low, drop.high]).all()
    assert PairedBootstrap.interval(np.array([np.nan]), 0.95) is None
