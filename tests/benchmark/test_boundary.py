"""Boundary F-score on maps small enough to count by eye, and against every pair of pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segship.benchmark.boundary import BoundaryScores, edges, f_score, parse_tolerance, share_within
from segship.common.errors import InputError

NONE = np.zeros((1, 6), bool)


def strip(text: str) -> np.ndarray:
    return np.array([[int(letter) for letter in text]], np.uint8)


def test_edges_are_both_sides_of_a_change() -> None:
    assert edges(strip("001112"), NONE).tolist() == [[False, True, True, False, True, True]]
    assert not edges(strip("111111"), NONE).any()  # the image's edge makes no boundary


def test_ignored_pixels_make_no_boundary() -> None:
    labels = strip("001112")
    ignored = strip("001000").astype(bool)
    assert edges(labels, ignored).tolist() == [[False, False, False, False, True, True]]
    ignored = strip("000010").astype(bool)
    assert edges(labels, ignored).tolist() == [[False, True, True, False, False, False]]


def test_a_shift_by_one_pixel() -> None:
    truth, shifted = strip("000111"), strip("001111")
    exact = BoundaryScores(2, 255, parse_tolerance("0"))
    exact.update(truth, shifted)
    # class 0: true boundary pixel 2, predicted 1; class 1: true 3, predicted 2
    assert exact.result() == (0.0, 0.0)
    near = BoundaryScores(2, 255, parse_tolerance("1"))
    near.update(truth, shifted)
    assert near.result() == (1.0, 1.0)


def test_half_of_the_boundary_found_halves_the_recall() -> None:
    truth = np.zeros((6, 6), bool)
    prediction = truth.copy()
    truth[0, :], prediction[0, :3] = True, True
    assert f_score(truth, prediction, 0) == pytest.approx(2 * 1.0 * 0.5 / 1.5)
    assert f_score(truth, prediction, 2) == pytest.approx(2 * 1.0 * (5 / 6) / (11 / 6))
    assert f_score(truth, np.zeros_like(truth), 9) == 0.0


def test_a_class_on_one_side_only_scores_zero_and_an_absent_one_nothing() -> None:
    scores = BoundaryScores(4, 255, parse_tolerance("1"))
    scores.update(strip("000111"), strip("000222"))
    assert scores.result() == (1.0, 0.0, 0.0, None)
    scores.update(strip("000111"), strip("000111"))  # mean over the images that hold the class
    assert scores.result() == (1.0, 0.5, 0.0, None)


@pytest.mark.parametrize("radius_px", [0, 1, 1.5, 2.9, 7])
def test_within_is_euclidean(radius_px: float) -> None:
    generator = np.random.default_rng(3)
    boundary, points = generator.random((2, 13, 17)) < 0.05
    found = share_within(np.nonzero(points), boundary, radius_px)
    marked = np.argwhere(boundary)
    near = [min(math.dist(p, q) for q in marked) <= radius_px for p in np.argwhere(points)]
    assert 0 < found <= 1 or radius_px == 0
    assert found == np.mean(near)


def test_a_share_of_the_diagonal_follows_the_image() -> None:
    assert parse_tolerance("0.75%").pixels((360, 480)) == pytest.approx(4.5)
    assert parse_tolerance("0.75%").words == "0.75 % of the diagonal"
    assert parse_tolerance(" 3 ").words == "3 px"


@pytest.mark.parametrize("text", ["", "x", "-1", "nan", "100%", "inf"])
def test_other_tolerances_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="boundary tolerance"):
        parse_tolerance(text)
