"""What a choice of images covers: classes, brightness, number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.dataset import Dataset, Sample
from ..data.palette import Labels

FEW_IMAGES = 16  # below this a range rests on too few scenes: research/performance.md 3.5
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True)
class ClassShare:
    """The share of the images that show a class, and of the labelled pixels that are of it."""

    name: str
    images: float
    pixels: float


@dataclass(frozen=True)
class Coverage:
    """`brightness` holds the quantiles 0, 25, 50, 75 and 100 % of the images' mean luma, 0..255.

    `classes` is empty where the data has no labels or no classes.
    """

    images: int
    brightness: tuple[float, ...]
    classes: tuple[ClassShare, ...] = ()

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes no image shows."""
        return tuple(item.name for item in self.classes if not item.images)


def coverage_of(
    luma: Sequence[float], counts: NDArray[np.int64], classes: Sequence[str]
) -> Coverage:
    """Return the coverage of images of mean `luma` and label `counts` (images, classes)."""
    total = max(1, int(counts.sum()))
    shares = tuple(
        ClassShare(
            name, float((counts[:, index] > 0).mean()), float(counts[:, index].sum()) / total
        )
        for index, name in enumerate(classes)
    )
    quantiles = tuple(float(value) for value in np.quantile(luma, _QUANTILES))
    return Coverage(len(luma), quantiles, shares if counts.sum() else ())


def notes_on(coverage: Coverage, name: str) -> tuple[str, ...]:
    """Return what a user should know about the choice from `name`, a line each."""
    notes = []
    if coverage.images < FEW_IMAGES:
        notes.append(
            f"warning: only {coverage.images} calibration images from {name}: use {FEW_IMAGES} or "
            "more, better 100."
        )
    if coverage.absent:
        notes.append(
            f"no calibration image shows {', '.join(coverage.absent)}: choose more images or the "
            "stratified strategy."
        )
    return tuple(notes)


def label_counts(labels: Labels, classes: int, ignore_index: int) -> NDArray[np.int64]:
    """Return the number of pixels of each class (classes,), the ignored ones left out."""
    counts = np.bincount(labels.reshape(-1)[labels.reshape(-1) != ignore_index], minlength=classes)
    return np.asarray(counts[:classes], np.int64)


def all_label_counts(dataset: Dataset) -> NDArray[np.int64]:
    """Return the label counts of every sample (samples, classes); each is read once."""
    classes, ignored = len(dataset.classes), dataset.ignore_index
    rows = (
        label_counts(dataset.sample(index).labels, classes, ignored)
        for index in range(len(dataset))
    )
    return np.array(list(rows), np.int64).reshape(len(dataset), classes)


def mean_luma(sample: Sample) -> float:
    """Return the mean brightness of an image, 0..255."""
    return float(sample.image.mean(axis=(0, 1)) @ _LUMA)
