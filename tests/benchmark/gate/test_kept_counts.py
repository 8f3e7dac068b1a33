"""What a record keeps per image is what was scored: it adds up, and gives the same interval."""

from __future__ import annotations

import numpy as np
import pytest

from segship.benchmark.confusion import counts_of
from segship.benchmark.examples import ExampleKeeper
from segship.benchmark.gate.accuracy import PairedAccuracy
from segship.benchmark.gate.policy import DEFAULT, Budget
from segship.benchmark.image_counts import unpack_counts, unpack_same
from segship.benchmark.label_scores import LabelScores, without_comparison
from segship.benchmark.record import Accuracy

CLASSES, IGNORED = 4, 255


@pytest.fixture(scope="module")
def scored() -> list[Accuracy]:
    rng = np.random.default_rng(2)
    keeper = ExampleKeeper(0, ((0, 0, 0),) * CLASSES, IGNORED)
    scores = LabelScores(["a", "b"], CLASSES, IGNORED, replicates=1000, seed=0, keeper=keeper)
    for number in range(9):
        truth = rng.choice([0, 1, 2, 3, IGNORED], (20, 30)).astype(np.uint8)
        right = np.where(truth == IGNORED, 0, truth)
        seen = [np.where(rng.random((20, 30)) < share, right, 1) for share in (0.9, 0.8)]
        scores.add(str(number), np.zeros((20, 30, 3), np.uint8), truth, seen)
    return scores.result()


def test_counts_add_up_to_the_confusion_matrix(scored: list[Accuracy]) -> None:
    for item in scored:
        assert item.counts is not None and (item.counts.images, item.counts.classes) == (9, CLASSES)
        total = counts_of(np.array(item.confusion))
        assert np.array_equal(unpack_counts(item.counts).sum(axis=0), total)


def test_pixels_as_the_baselines_give_the_agreement(scored: list[Accuracy]) -> None:
    base, other = scored
    assert base.counts is not None and base.counts.same == "" and other.counts is not None
    pixels = unpack_counts(other.counts)[..., 1].sum()
    assert unpack_same(other.counts).sum() / pixels == pytest.approx(other.pixel_agreement)
    plain = without_comparison(other)
    assert plain.counts is not None and plain.counts.same == ""


def test_the_gates_interval_is_the_one_that_was_measured(scored: list[Accuracy]) -> None:
    base, other = scored
    check = PairedAccuracy(base, other, DEFAULT).check_miou(Budget("miou", 0.5, "points"))
    assert other.drop is not None and other.drop.resamples == DEFAULT.replicates
    wanted = [100 * it for it in (other.drop.miou, other.drop.low, other.drop.high)]
    assert [check.change, check.low, check.high] == pytest.approx(wanted)
