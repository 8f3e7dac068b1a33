"""Depth errors against their formulas, and which parts of a record exist on which data."""

from __future__ import annotations

import math
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest

from segship.benchmark.accuracy import AccuracyResult, AccuracyRule, measure_accuracy
from segship.benchmark.depth import DepthErrors, with_change
from segship.benchmark.scoring import Scoring
from segship.benchmark.subject import Subject
from segship.common.errors import CheckFailedError, InputError
from segship.data.contract import Contract
from segship.tests.benchmark.fakes import ArrayData, FunctionSession

NAN, INF = float("nan"), float("inf")


def test_every_number_of_a_hand_made_image() -> None:
    truth = np.array([[1, 2, 4, 0], [10, NAN, -1, INF]], np.float32)  # four pixels are valid
    seen = np.array([[1, 3, 2, 7], [13, 5, 5, 5]], np.float32)
    errors = DepthErrors()
    errors.update(truth, seen)
    found = errors.result()
    assert found is not None and (found.pixels, found.clamped_pixels) == (4, 0)

    def same(value: float) -> object:
        return pytest.approx(value, rel=1e-15)  # one rounding

    assert found.mae == same(float(F(0 + 1 + 2 + 3, 4)))
    assert found.abs_rel == same(float((F(1, 2) + F(2, 4) + F(3, 10)) / 4))
    assert found.rmse == same(math.sqrt(F(0 + 1 + 4 + 9, 4)))
    logs = (math.log(3 / 2), math.log(2 / 4), math.log(13 / 10))
    assert found.rmse_log == pytest.approx(math.sqrt(sum(x * x for x in logs) / 4), rel=1e-12)
    # ratios 1, 1.5, 2, 1.3 against 1.25, 1.5625, 1.953125
    assert (found.delta1, found.delta2, found.delta3) == (0.25, 0.75, 0.75)


def test_a_ratio_of_exactly_1_25_is_outside() -> None:
    errors = DepthErrors()
    errors.update(np.array([[4.0, 5.0]]), np.array([[5.0, 5.0]]))
    found = errors.result()
    assert found is not None and (found.delta1, found.delta2) == (0.5, 1.0)


def test_predictions_without_a_logarithm_are_raised_to_the_floor_and_counted() -> None:
    errors = DepthErrors()
    errors.update(np.array([[1.0, 1.0, 1.0]]), np.array([[0.0, -2.0, 1.0]]))
    found = errors.result()
    assert found is not None and found.clamped_pixels == 2
    assert found.rmse_log == pytest.approx(math.sqrt(2 * math.log(1000) ** 2 / 3), rel=1e-12)
    assert found.delta3 == pytest.approx(1 / 3, rel=1e-15)  # one rounding
    assert found.mae == pytest.approx(4 / 3, rel=1e-15)  # 1 and 3: the prediction as it is


def test_images_stream_into_one_mean_over_pixels() -> None:
    generator = np.random.default_rng(0)
    errors, truths, seens = DepthErrors(), [], []
    for shape in ((3, 5), (8, 2), (1, 1)):
        truth = generator.uniform(0.5, 9, shape).astype(np.float32)
        truth[generator.random(shape) < 0.3] = 0
        seen = (truth + generator.normal(0, 1, shape)).astype(np.float32)
        errors.update(truth, seen)
        truths.append(truth[truth > 0].astype(np.float64))
        seens.append(seen[truth > 0].astype(np.float64))
    t, p = np.concatenate(truths), np.concatenate(seens)
    found = errors.result()
    assert found is not None and found.pixels == t.size
    # float64 sums in another order
    assert found.rmse == pytest.approx(np.sqrt(np.mean((p - t) ** 2)), rel=1e-12)
    assert found.abs_rel == pytest.approx(np.mean(np.abs(p - t) / t), rel=1e-12)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(InputError, match="the truth's size"):
        DepthErrors().update(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(InputError, match="overflowed"):
        DepthErrors().update(np.ones((1, 2)), np.array([[1.0, NAN]]))
    assert DepthErrors().result() is None


SIZE = (4, 8)
HEADS = ("segmentation", "depth")
TRUTH = np.zeros(SIZE, np.uint8)
DEPTH = np.full(SIZE, 2.0, np.float32)


def subject(name: str, heads: tuple[str, ...], depth: float = -30.0) -> Subject:
    """Two classes, class 0 everywhere; the depth head returns `depth`, ten times the data's."""
    maps = {
        "segmentation": np.stack([np.ones(SIZE), np.zeros(SIZE)])[None].astype(np.float32),
        "depth": np.full((1, 1, *SIZE), depth, np.float32),
    }
    classes = ("a", "b") if "segmentation" in heads else ()
    contract = Contract(
        size_px=SIZE, classes=classes, heads=heads, depth_abs=True, depth_scale=10.0
    )

    def function(pixels: np.ndarray) -> dict[str, np.ndarray]:
        return {head: np.repeat(maps[head], len(pixels), axis=0) for head in heads}

    return Subject(name, FunctionSession(function, contract), contract)


def data(*, labels: bool = True, depth: bool = True, **values: Any) -> ArrayData:
    truth = TRUTH if labels else np.full(SIZE, 255, np.uint8)
    image = np.zeros((*SIZE, 3), np.uint8)
    maps = [values.get("values", DEPTH)] * 2 if depth else None
    return ArrayData([image] * 2, [truth] * 2, maps, labelled=labels)


def measure(subjects: list[Subject], dataset: ArrayData, scoring: Scoring | None = None) -> Any:
    rule = AccuracyRule(scoring=scoring or Scoring())
    return measure_accuracy(subjects, dataset, palette=((0, 0, 0),) * 2, rule=rule, progress=False)


def test_both_heads_are_scored_and_depth_is_brought_to_the_datas_unit() -> None:
    found: AccuracyResult = measure([subject("two", HEADS)], data())
    (accuracy,), (depth,) = found.accuracies, found.depths
    assert accuracy is not None and accuracy.pixel_accuracy == 1.0
    assert depth is not None and depth.pixels == 2 * 4 * 8
    assert (depth.mae, depth.abs_rel, depth.change) == (1.0, 0.5, {})  # |−30| / 10 against 2
    assert found.notes == () and found.images == 2


def test_candidates_are_compared_with_the_baseline() -> None:
    found = measure([subject("base", HEADS), subject("other", HEADS, 24.0)], data())
    change = found.depths[1].change
    # 2.4 against 3.0, both for a truth of 2; float32 depth
    assert change["mae"] == pytest.approx(-0.6, rel=1e-6)
    assert (change["delta1"], change["delta2"]) == (1.0, 0.0)  # ratios 1.2 and 1.5


def test_data_without_depth_leaves_depth_out_and_says_so() -> None:
    found = measure([subject("two", HEADS)], data(depth=False))
    assert found.accuracies[0] is not None and found.depths == (None,)
    assert found.notes == ("Depth is left out: arrays has none.",)


def test_data_without_labels_leaves_segmentation_out_and_says_so() -> None:
    found = measure([subject("two", HEADS)], data(labels=False))
    assert found.accuracies == (None,) and found.depths[0] is not None
    assert found.examples == ()
    assert found.notes == ("Segmentation is left out: arrays has no labels.",)


def test_labels_that_are_all_ignored_leave_segmentation_out() -> None:
    dataset = data(labels=False)
    dataset.has_labels = True
    found = measure([subject("two", HEADS)], dataset)
    assert found.accuracies == (None,) and found.depths[0] is not None
    assert found.notes == ("Segmentation is left out: arrays has no labelled pixel.",)


def test_no_valid_depth_leaves_depth_out() -> None:
    found = measure([subject("two", HEADS)], data(values=np.zeros(SIZE, np.float32)))
    assert found.depths == (None,)
    assert found.notes == ("Depth is left out: arrays has no valid depth.",)
    with pytest.raises(CheckFailedError, match="scored pixels"):
        measure([subject("deep", ("depth",))], data(values=np.zeros(SIZE, np.float32)))


def test_a_depth_model_on_data_without_depth_is_one_line() -> None:
    with pytest.raises(InputError, match="data set with depth, which the models predict, but arr"):
        measure([subject("deep", ("depth",))], data(depth=False))
    with pytest.raises(InputError, match="data set with labels, which the models predict"):
        measure([subject("flat", ("segmentation",))], data(labels=False))


def test_models_with_other_heads_stand_side_by_side() -> None:
    one, deep = subject("one", ("segmentation",)), subject("deep", ("depth",))
    found = measure([subject("two", HEADS), one, deep], data())
    assert [item is None for item in found.accuracies] == [False, False, True]
    assert [item is None for item in found.depths] == [False, True, False]
    assert found.accuracies[1].drop is not None and found.depths[2].change["mae"] == 0.0
    found = measure([deep, one, subject("two", HEADS)], data())
    assert [item is None for item in found.accuracies] == [True, False, False]
    assert found.accuracies[2].drop is None  # its baseline predicts no labels
    assert found.accuracies[2].pixel_agreement is None and found.examples == ()


def test_at_input_resizes_depth_to_the_nearest() -> None:
    large = np.kron(DEPTH, np.ones((3, 3), np.float32))
    large[::3] = 50.0  # never the nearest to a centre
    dataset = ArrayData(
        [np.zeros((12, 24, 3), np.uint8)], [np.kron(TRUTH, np.ones((3, 3), np.uint8))], [large]
    )
    at_label = measure([subject("two", HEADS)], dataset).depths[0]
    at_input = measure([subject("two", HEADS)], dataset, Scoring(at="input")).depths[0]
    assert at_label.pixels == 12 * 24 and at_label.mae > 1
    assert at_input.pixels == 4 * 8 and at_input.mae == 1.0


def test_change_is_candidate_less_baseline() -> None:
    base, other = DepthErrors(), DepthErrors()
    base.update(np.ones((1, 1)), np.full((1, 1), 2.0))
    other.update(np.ones((1, 1)), np.full((1, 1), 1.5))
    found, first = other.result(), base.result()
    assert found is not None and first is not None
    assert with_change(found, first).change["abs_rel"] == -0.5
