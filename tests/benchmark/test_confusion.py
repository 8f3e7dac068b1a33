"""Confusion, IoU and agreement against definitions written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segship.benchmark.confusion import Agreement, Confusion, iou, miou, pixel_accuracy
from segship.common.errors import InputError

IGNORE = 255


def slow_matrix(truth: np.ndarray, prediction: np.ndarray, classes: int, ignore: int) -> np.ndarray:
    matrix = np.zeros((classes, classes), np.int64)
    for t, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if t != ignore:
            matrix[t, p] += 1
    return matrix


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    classes=st.integers(1, 9),
    ignore=st.sampled_from([255, 3, 200, -1]),
    dtype=st.sampled_from([np.uint8, np.int32, np.int64]),
)
def test_matrix_equals_a_pixel_loop(seed: int, classes: int, ignore: int, dtype: type) -> None:
    generator = np.random.default_rng(seed)
    confusion = Confusion(classes, ignore)
    want = np.zeros((classes, classes), np.int64)
    for _ in range(3):
        shape = tuple(generator.integers(1, 9, 2))
        truth: np.ndarray = generator.integers(0, classes, shape).astype(dtype)
        if ignore >= 0:
            truth[generator.random(shape) < 0.3] = ignore
        prediction = generator.integers(0, classes, shape).astype(np.uint8)
        table = slow_matrix(truth, prediction, classes, ignore)
        counts = confusion.update(truth, prediction)
        assert counts[:, 0].tolist() == np.diag(table).tolist()
        assert counts[:, 1].tolist() == table.sum(1).tolist()
        assert counts[:, 2].tolist() == table.sum(0).tolist()
        want += table
    assert confusion.matrix.dtype == np.int64
    assert np.array_equal(confusion.matrix, want)


@pytest.mark.parametrize("cell_px", [1, 3, 16])
def test_blocky_maps_and_noise_count_alike(cell_px: int) -> None:
    generator = np.random.default_rng(cell_px)
    cells = generator.integers(0, 4, (2, 6, 7)).astype(np.uint8)
    truth, prediction = np.kron(cells, np.ones((cell_px, cell_px), np.uint8))
    confusion = Confusion(4, 3)
    confusion.update(truth, prediction)
    assert np.array_equal(confusion.matrix, slow_matrix(truth, prediction, 4, 3))


def test_many_classes_leave_uint8() -> None:
    truth = np.array([[0, 299, 1000]], np.int32)
    prediction = np.array([[299, 299, 5]], np.int32)
    confusion = Confusion(300, 1000)
    confusion.update(truth, prediction)
    assert confusion.matrix.sum() == 2
    assert confusion.matrix[0, 299] == confusion.matrix[299, 299] == 1


def test_absent_class_is_nan_and_skipped_but_a_missed_class_counts_as_zero() -> None:
    confusion = Confusion(4, IGNORE)
    confusion.update(np.array([[0, 0, 1, IGNORE]], np.uint8), np.array([[0, 2, 2, 3]], np.uint8))
    counts = np.stack(
        [np.diag(confusion.matrix), confusion.matrix.sum(1), confusion.matrix.sum(0)], axis=-1
    ).astype(float)
    values = iou(counts)
    assert values[:3].tolist() == [0.5, 0.0, 0.0]
    assert np.isnan(values[3])  # predicted on an ignored pixel only
    assert float(miou(counts)) == pytest.approx(0.5 / 3, abs=1e-15)  # one rounding of a division
    assert pixel_accuracy(confusion.matrix) == 1 / 3


def test_nothing_scored_is_nan_not_zero() -> None:
    confusion = Confusion(2, IGNORE)
    counts = confusion.update(np.full((2, 2), IGNORE, np.uint8), np.zeros((2, 2), np.uint8))
    assert np.isnan(miou(counts)) and np.isnan(pixel_accuracy(confusion.matrix))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_truth_out_of_range_is_refused_with_the_images_name(dtype: type) -> None:
    confusion = Confusion(3, IGNORE)
    with pytest.raises(InputError, match=r"0\.\.2 or 255 \(ignored\) in road_7, but got \[7\]"):
        confusion.update(np.array([[0, 7]], dtype), np.zeros((1, 2), np.uint8), "road_7")
    assert not confusion.matrix.any()


def test_prediction_out_of_range_is_refused_and_does_not_leak_into_the_next_row() -> None:
    confusion = Confusion(3, IGNORE)
    with pytest.raises(InputError, match="different classes"):
        confusion.update(np.zeros((1, 2), np.uint8), np.array([[0, 3]], np.uint8))
    assert not confusion.matrix.any()


def test_sizes_must_match() -> None:
    with pytest.raises(InputError, match="label's size"):
        Confusion(3, IGNORE).update(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))


def test_agreement_counts_scored_pixels_only() -> None:
    agreement = Agreement(IGNORE)
    truth = np.array([[0, 1, IGNORE, IGNORE]], np.uint8)
    baseline = np.array([[0, 1, 0, 0]], np.uint8)
    assert agreement.update(truth, baseline, np.array([[0, 0, 0, 1]], np.uint8)) == 0.5
    assert agreement.update(truth, baseline, baseline) == 1.0
    assert (agreement.same, agreement.scored, agreement.share) == (3, 4, 0.75)
    assert Agreement(0).update(np.zeros((1, 1)), np.zeros((1, 1)), np.ones((1, 1))) == 1.0
