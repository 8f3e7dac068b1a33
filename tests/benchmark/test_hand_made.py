"""Images of 4×4 pixels whose every number can be counted: ignore, reduce, maps, one class."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np
import pytest

from segship.benchmark.accuracy import AccuracyRule, measure_accuracy
from segship.benchmark.record import Accuracy
from segship.benchmark.scoring import Scoring, read_scoring
from segship.benchmark.subject import Subject
from segship.common.errors import CheckFailedError, InputError
from segship.data.contract import Contract, OutputKind, ResizeRule
from segship.data.label_map import map_labels
from segship.tests.benchmark.fakes import ArrayData, FunctionSession

X = 255
TRUTH = np.array(
    [
        [0, 0, 1, 1],
        [0, 0, 1, X],
        [2, 2, 1, X],
        [2, 2, 1, 1],
    ],
    np.uint8,
)
SEEN = np.array(
    [
        [0, 0, 1, 1],
        [0, 1, 1, 2],
        [2, 2, 0, 2],
        [2, 1, 1, 1],
    ],
    np.uint8,
)
NAMES = ("road", "lane", "background")


def score(
    truth: np.ndarray,
    seen: np.ndarray,
    *,
    threshold: float | None = None,
    classes: tuple[str, ...] = NAMES,
    **options: object,
) -> Accuracy:
    """Evaluate a session that returns logits of exactly the labels `seen`."""

    def function(pixels: np.ndarray) -> dict[str, np.ndarray]:
        if threshold is not None:
            return {"segmentation": seen[None, None].astype(np.float32)}
        maps = np.arange(len(classes))[:, None, None] == seen
        return {"segmentation": np.repeat(maps[None].astype(np.float32), len(pixels), axis=0)}

    contract = Contract(
        size_px=seen.shape,
        classes=classes,
        output=OutputKind.LOGITS_FULL,
        resize=ResizeRule.STRETCH,
        threshold=threshold,
    )
    data = ArrayData([np.zeros((*truth.shape, 3), np.uint8)], [truth])
    subject = Subject("x", FunctionSession(function, contract), contract)
    rule = AccuracyRule(scoring=read_scoring(**options))  # type: ignore[arg-type]  # by name
    (found,) = measure_accuracy([subject], data, palette=(), rule=rule, progress=False).accuracies
    assert found is not None
    return found


def exactly(values: object) -> object:
    return pytest.approx(values, abs=1e-15)  # one rounding of a division


def test_ignored_pixels_count_nowhere() -> None:
    found = score(TRUTH, SEEN)
    assert found.confusion == ((3, 1, 0), (1, 5, 0), (0, 1, 3))
    assert found.iou == exactly((F(3, 5), F(5, 8), F(3, 4)))
    assert found.miou == exactly(float((F(3, 5) + F(5, 8) + F(3, 4)) / 3))
    assert found.pixel_accuracy == exactly(float(F(11, 14)))
    assert found.class_accuracy == exactly((F(3, 4), F(5, 6), F(3, 4)))
    assert found.mean_accuracy == exactly(float((F(3, 4) + F(5, 6) + F(3, 4)) / 3))
    assert found.f1 == exactly((F(6, 8), F(10, 13), F(6, 7)))
    assert found.mean_f1 == exactly(float((F(6, 8) + F(10, 13) + F(6, 7)) / 3))
    assert found.excluded == () and found.levels == {}


@pytest.mark.parametrize("name", ["background", "BackGround", "2"])
def test_an_excluded_class_leaves_the_means_and_stays_in_the_list(name: str) -> None:
    found = score(TRUTH, SEEN, exclude=(name,))
    assert found.excluded == (2,)
    assert found.iou == exactly((F(3, 5), F(5, 8), F(3, 4)))
    assert found.miou == exactly(float((F(3, 5) + F(5, 8)) / 2))
    assert found.mean_accuracy == exactly(float((F(3, 4) + F(5, 6)) / 2))
    assert found.pixel_accuracy == exactly(float(F(11, 14)))  # of all pixels, as before


def test_levels_of_one_image_are_that_images_miou() -> None:
    found = score(TRUTH, SEEN, level=("dataset", "image", "batch", "image"))
    assert found.levels == {"per image": found.miou, "per batch of 8": found.miou}


def test_wrong_exclusions_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"by name \(road, lane, background\) or number \(0 to 2\)"
    ):
        score(TRUTH, SEEN, exclude=("sky",))
    with pytest.raises(InputError, match="all 3 are excluded"):
        score(TRUTH, SEEN, exclude=("0", "lane", "2"))
    only = np.where(TRUTH == 0, TRUTH, X).astype(np.uint8)
    with pytest.raises(CheckFailedError, match="only excluded ones occur"):
        score(only, np.zeros_like(SEEN), exclude=("road",))


def test_minus_one_and_a_list_of_ignored_values_are_mapped_to_one() -> None:
    raw = TRUTH.astype(np.int32)
    raw[1, 3], raw[2, 3] = -1, 19  # as some data sets write "ignore", both in one file
    pairs = tuple((k, k) for k in range(3))
    mapped = map_labels(np.where(raw < 0, 255, raw), pairs, X)
    assert np.array_equal(mapped, TRUTH)
    assert score(mapped, SEEN) == score(TRUTH, SEEN)


def test_reduced_labels_shift_by_one_and_zero_is_ignored() -> None:
    raw = np.where(TRUTH == X, 0, TRUTH + 1).astype(np.uint8)
    assert raw[1].tolist() == [1, 1, 2, 0]
    mapped = map_labels(raw, ((1, 0), (2, 1), (3, 2)), X)
    assert score(mapped, SEEN) == score(TRUTH, SEEN)


def test_two_labels_of_the_data_may_be_one_class_of_the_model() -> None:
    mapped = map_labels(TRUTH, ((0, 0), (1, 1), (2, 1)), X)
    found = score(mapped, np.minimum(SEEN, 1), classes=("road", "rest"))
    # truth 0: 4, rest: 10; predicted 0: 4 of the 14 scored pixels, 3 of them right
    assert found.confusion == ((3, 1), (1, 9))
    assert found.iou == exactly((F(3, 5), F(9, 11)))


def test_one_class_compares_with_its_threshold() -> None:
    logits = np.array([[0.0, -0.5, 3.0, -3.0]] * 4, np.float32)  # sigmoid 0.5, 0.378, 0.95, 0.05
    truth = np.array([[1, 1, 1, 0], [0, 0, 1, 0], [1, 1, 0, 0], [1, X, 1, 1]], np.uint8)
    names = ("background", "nail")
    half = score(truth, logits, threshold=0.5, classes=names)
    # 0.5 is not above 0.5: only the third column is foreground (4 pixels, 3 of them right)
    assert half.confusion == ((5, 1), (6, 3))
    assert half.iou == exactly((F(5, 12), F(3, 10)))
    low = score(truth, logits, threshold=0.375, classes=names)
    # three columns are foreground, 11 scored pixels: 8 right
    assert low.confusion == ((3, 3), (1, 8))
    assert low.iou == exactly((F(3, 7), F(8, 12)))


def test_at_input_resizes_the_labels_to_the_nearest() -> None:
    large = np.kron(TRUTH, np.ones((3, 3), np.uint8))
    found = score(large, SEEN, at="input")
    assert found == score(TRUTH, SEEN)  # each 3×3 block has its own value at its centre
    bilinear = score(large, SEEN)  # at the label's size the logits are resized instead
    assert sum(map(sum, bilinear.confusion)) == 9 * 14
    even = np.kron(TRUTH, np.array([[0, 0], [0, 1]], np.uint8))  # the centre falls on the last
    assert score(even, SEEN, at="input", exclude=("2",)).confusion[0] == (3, 1, 0)


def test_a_scoring_that_contradicts_itself_is_refused() -> None:
    for wrong in ({"protocol": "slides"}, {"at": "image"}):
        with pytest.raises(InputError, match="whole or slide at label or input"):
            read_scoring(**wrong)  # type: ignore[arg-type]  # by name
    assert read_scoring() == Scoring()
