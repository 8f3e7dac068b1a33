"""Every published definition of mIoU against its formula, written out in numpy or torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassJaccardIndex,
)

from segship.benchmark.confusion import Confusion, class_accuracy, counts_of, f1, iou, miou
from segship.benchmark.levels import LevelMean, parse_level
from segship.common.errors import InputError
from segship.data.label_map import map_labels

IMAGES, CLASSES, IGNORE = 7, 5, 255


def pair(seed: int = 11) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and prediction (N,H,W): related, with ignored pixels and absent classes."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, CLASSES, (IMAGES, 12, 17)).astype(np.uint8)
    truth[1][truth[1] == 4] = 0  # image 1 has no class 4 …
    noise = generator.random(truth.shape) < 0.3
    prediction = np.where(noise, generator.integers(0, CLASSES, truth.shape), truth)
    prediction[1][prediction[1] == 4] = 2  # … in truth and prediction
    truth[generator.random(truth.shape) < 0.1] = IGNORE
    truth[3] = IGNORE  # an image without any label
    return truth, prediction.astype(np.uint8)


def slow_matrix(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    table = np.zeros((CLASSES, CLASSES))
    for t, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if t != IGNORE:
            table[t, p] += 1
    return table


def slow_miou(table: np.ndarray) -> float:
    values = []
    for k in range(CLASSES):
        union = table[k, :].sum() + table[:, k].sum() - table[k, k]
        if union:
            values.append(table[k, k] / union)
    return float(np.mean(values)) if values else float("nan")


def measured(level: str, keep: np.ndarray | None = None) -> float | None:
    truth, prediction = pair()
    mask = np.ones(CLASSES, bool) if keep is None else keep
    mean = LevelMean(parse_level(level), CLASSES, mask)
    confusion = Confusion(CLASSES, IGNORE)
    for image in range(IMAGES):
        confusion.update(truth[image], prediction[image])
        mean.add(confusion.table)
    return mean.value()


def batches(size: int) -> list[np.ndarray]:
    truth, prediction = pair()
    starts = range(0, IMAGES, size)
    return [slow_matrix(truth[i : i + size], prediction[i : i + size]) for i in starts]


def test_image_level_is_the_mean_of_each_images_own_miou() -> None:
    values = [slow_miou(table) for table in batches(1)]
    assert np.isnan(values).sum() == 1  # the image without a label is skipped
    assert measured("image") == pytest.approx(np.nanmean(values), abs=1e-12)  # float64


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_batch_level_is_the_mean_over_batches(size: int) -> None:
    values = [slow_miou(table) for table in batches(size)]
    assert measured(f"batch:{size}") == pytest.approx(np.nanmean(values), abs=1e-12)  # float64


def balanced(table: np.ndarray) -> float:
    """ImageSegComp's IoU_score, as its formula reads: cells and row sums raised, then IoU."""
    small, values = 1e-6, []
    rows = np.array([[(cell + small) / (row.sum() + small) for cell in row] for row in table])
    for k in range(CLASSES):
        union = rows[:, k].sum() + rows[k, :].sum() - rows[k, k]
        values.append((rows[k, k] + small) / (union + small))
    return float(np.mean(values))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_imagesegcomp_balances_classes_and_counts_absent_ones(size: int) -> None:
    values = [balanced(table) for table in batches(size) if table.any()]
    assert measured(f"imagesegcomp:{size}") == pytest.approx(np.mean(values), abs=1e-12)  # float64


def test_the_definitions_differ_on_the_same_arrays() -> None:
    whole = slow_miou(batches(IMAGES)[0])
    found = [measured(text) for text in ("image", "batch:2", "imagesegcomp:2")]
    assert len({round(value, 4) for value in (whole, *found) if value is not None}) == 4


def test_a_level_leaves_excluded_classes_out() -> None:
    keep = np.array([True, False, True, True, False])
    values = []
    for table in batches(2):
        inside = []
        for k in np.flatnonzero(keep):
            union = table[k, :].sum() + table[:, k].sum() - table[k, k]
            inside += [table[k, k] / union] if union else []
        values.append(np.mean(inside))
    assert measured("batch:2", keep) == pytest.approx(np.mean(values), abs=1e-12)  # float64


def test_one_foreground_class_per_batch_is_the_binary_batch_iou() -> None:
    """IoU of logits > 0 over a whole batch, averaged over batches, as binary trainers print it."""
    generator = np.random.default_rng(2)
    truth, prediction = generator.integers(0, 2, (2, 6, 9, 9)).astype(np.uint8)
    mean = LevelMean(parse_level("batch:4"), 2, np.array([False, True]))
    confusion = Confusion(2, IGNORE)
    for t, p in zip(truth, prediction, strict=True):
        confusion.update(t, p)
        mean.add(confusion.table)
    values = [
        (truth[cut] & prediction[cut]).sum() / (truth[cut] | prediction[cut]).sum()
        for cut in (slice(0, 4), slice(4, 6))
    ]
    assert mean.value() == pytest.approx(np.mean(values), abs=1e-12)  # float64


@pytest.mark.parametrize("text", ["images", "image:2", "batch:0", "batch:", "batch:x", ""])
def test_a_wrong_level_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="level of dataset, image, batch"):
        parse_level(text)


def streamed(truth: np.ndarray, prediction: np.ndarray, classes: int, ignore: int) -> np.ndarray:
    confusion = Confusion(classes, ignore)
    for t, p in zip(truth, prediction, strict=True):
        confusion.update(t, p)
    return counts_of(confusion.matrix)


def library(
    kind: type, truth: np.ndarray, prediction: np.ndarray, average: str, ignore: int | None
) -> np.ndarray:
    metric = kind(num_classes=CLASSES, average=average, ignore_index=ignore)
    for t, p in zip(truth, prediction, strict=True):
        metric.update(torch.from_numpy(p.astype(np.int64))[None], torch.from_numpy(t)[None])
    return np.asarray(metric.compute().double())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ignore", [255, -1])
def test_dataset_level_equals_torchmetrics(seed: int, ignore: int) -> None:
    truth, prediction = pair(seed)
    wide = truth.astype(np.int64)
    wide[wide == IGNORE] = ignore
    counts = streamed(wide, prediction, CLASSES, ignore)
    for ours, kind in (
        (iou(counts), MulticlassJaccardIndex),
        (class_accuracy(counts), MulticlassAccuracy),
        (f1(counts), MulticlassF1Score),
    ):
        # 1e-6: torchmetrics divides in float32
        np.testing.assert_allclose(ours, library(kind, wide, prediction, "none", ignore), atol=1e-6)
    whole = library(MulticlassJaccardIndex, wide, prediction, "macro", ignore)
    assert float(miou(counts)) == pytest.approx(float(whole), abs=1e-6)


def test_a_class_absent_everywhere_is_skipped_as_torchmetrics_does() -> None:
    truth, prediction = pair()
    truth[truth == 4], prediction[prediction == 4] = 0, 1
    counts = streamed(truth, prediction, CLASSES, IGNORE)
    whole = library(MulticlassJaccardIndex, truth.astype(np.int64), prediction, "macro", IGNORE)
    assert np.isnan(iou(counts)[4])
    assert float(miou(counts)) == pytest.approx(float(whole), abs=1e-6)  # float32 there


def test_label_maps_and_reduced_labels_equal_torchmetrics() -> None:
    generator = np.random.default_rng(4)
    raw = generator.integers(0, 9, (3, 10, 11)).astype(np.uint8)
    prediction = generator.integers(0, CLASSES, raw.shape).astype(np.uint8)
    table = {7: 0, 8: 1, 3: 2, 1: 3, 2: 4}
    by_hand = np.vectorize(lambda value: table.get(value, IGNORE))(raw)
    reduced = np.where((raw == 0) | (raw > CLASSES), IGNORE, raw.astype(np.int64) - 1)
    pairs = ((tuple(table.items()), by_hand), (tuple((i, i - 1) for i in range(1, 6)), reduced))
    for mapping, want in pairs:
        mapped = np.stack([map_labels(item, mapping, IGNORE) for item in raw])
        counts = streamed(mapped, prediction, CLASSES, IGNORE)
        whole = library(MulticlassJaccardIndex, want, prediction, "macro", IGNORE)
        assert float(miou(counts)) == pytest.approx(float(whole), abs=1e-6)  # float32 there
