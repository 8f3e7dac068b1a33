"""Means over images and over batches, as some systems publish them, beside the data set's mIoU.

All three stream: what is kept is one sum and the confusion of the batch that is being filled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from .confusion import counts_of, miou

KINDS = ("image", "batch", "imagesegcomp")
DEFAULT_BATCH = 8
_SMOOTH = 1e-6  # of the published definition
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Level:
    """A mean other than the data set's: over images, or over batches of `batch` images.

    "image": mean over images of the mIoU of the classes in their truth or prediction.
    "batch": the same over the confusion of `batch` consecutive images; the last may be smaller.
    "imagesegcomp": over batches too, but each batch's IoU comes from the confusion matrix with
    every cell and row sum raised by 1e-6 and the rows then divided by their sums (every class
    weighs alike), and absent classes count.
    """

    kind: str
    batch: int = 1

    @property
    def words(self) -> str:
        """The name a record and a table have for it.

        >>> Level("image").words, Level("batch", 4).words
        ('per image', 'per batch of 4')
        """
        if self.kind == "image":
            return "per image"
        return f"per batch of {self.batch}" if self.kind == "batch" else f"{self.kind}:{self.batch}"

    @property
    def rule(self) -> str:
        """What is averaged, in words."""
        return {
            "image": "per image: mean of each image's mIoU over the classes in it",
            "batch": f"per batch: the same over {self.batch} consecutive images",
            "imagesegcomp": f"imagesegcomp: rows of the confusion of {self.batch} images "
            "normalised, absent classes counted",
        }[self.kind]


def parse_level(text: str) -> Level:
    """Read `image`, `batch[:N]` or `imagesegcomp[:N]`; N is 8 where it is not written.

    >>> parse_level("batch:4")
    Level(kind='batch', batch=4)

    Raises:
        InputError: not written like that.
    """
    kind, colon, number = text.partition(":")
    known = kind in KINDS and not (kind == "image" and colon)
    if not known or (colon and not (number.isdecimal() and int(number) > 0)):
        raise InputError(
            f"Expected a level of dataset, image, batch[:N] or imagesegcomp[:N], but got {text!r}."
        )
    if kind == "image":
        return Level(kind)
    return Level(kind, int(number) if colon else DEFAULT_BATCH)


class LevelMean:
    """The streaming mean of one level for one model."""

    def __init__(self, level: Level, classes: int, keep: Mask) -> None:
        """Start empty; `keep` (K,) marks the classes in the mean."""
        self.level = level
        self.keep = keep
        self._table = np.zeros((classes, classes), np.int64)
        self._images = 0
        self._sum, self._count = 0.0, 0

    def add(self, table: NDArray[np.int64]) -> None:
        """Add the confusion (K,K) of one image."""
        self._table += table
        self._images += 1
        if self._images == self.level.batch:
            self._close()

    def value(self) -> float | None:
        """Return the mean over all images or batches so far; None where none was scored."""
        if self._images:
            self._close()
        return self._sum / self._count if self._count else None

    def _close(self) -> None:
        """Score the batch and start the next; one without a class in the mean is skipped."""
        if self._table.any():
            score = self._score()
            if np.isfinite(score):
                self._sum, self._count = self._sum + score, self._count + 1
        self._table[:], self._images = 0, 0

    def _score(self) -> float:
        if self.level.kind == "imagesegcomp":
            return float(balanced_iou(self._table)[self.keep].mean())
        return float(miou(counts_of(self._table), self.keep))


def balanced_iou(table: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ImageSegComp's IoU (K,) of a confusion (K,K), [truth][prediction].

    A class absent from the truth becomes a row of ones there, which also raises every column:
    the published numbers hold that.
    """
    rows = (table + _SMOOTH) / (table.sum(axis=1, keepdims=True) + _SMOOTH)
    hit = np.diagonal(rows)
    union = rows.sum(axis=0) + rows.sum(axis=1) - hit
    return np.asarray((hit + _SMOOTH) / (union + _SMOOTH))
