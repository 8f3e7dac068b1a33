"""Data-set accuracy from one int64 confusion matrix, filled image by image.

IoU_k = TP_k / (truth_k + predicted_k − TP_k) over all scored pixels of the data set; mIoU is the
mean over classes, those absent from truth and prediction skipped (SegFormer paper, section 4.1).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError

Labels = NDArray[Any]
Counts = NDArray[np.float64]

INTERSECTION, TRUTH, PREDICTION = 0, 1, 2  # last axis of Counts


class Confusion:
    """Streaming confusion matrix of K classes; pixels whose truth is `ignore_index` never count."""

    def __init__(self, classes: int, ignore_index: int) -> None:
        """Start empty; `matrix` is int64 (K,K), [truth][prediction], in pixels.

        `table` is the matrix of the image that was added last.
        """
        self.classes = classes
        self.ignore_index = ignore_index
        self.matrix = np.zeros((classes, classes), np.int64)
        self.table = self.matrix.copy()

    def update(self, truth: Labels, prediction: Labels, name: str = "an image") -> Counts:
        """Add one image and return its counts float64 (K,3): intersection, truth, prediction.

        Args:
            truth: integer labels (H,W).
            prediction: integer labels (H,W), each in 0..K-1.
            name: what the error calls the image.

        Raises:
            InputError: sizes differ, or a label is out of range.
        """
        if truth.shape != prediction.shape:
            raise InputError(
                f"Expected a prediction of {name} at the label's size {truth.shape}, "
                f"but got {prediction.shape}."
            )
        self._refuse_prediction(prediction, name)
        self.table = self._count(truth, prediction, name)
        self.matrix += self.table
        return counts_of(self.table)

    def _count(self, truth: Labels, prediction: Labels, name: str) -> NDArray[np.int64]:
        """Return the (K,K) table of one image; one bincount of truth·K + prediction."""
        k = self.classes
        if truth.dtype == np.uint8 and k < 256:
            # Every uint8 truth gets a row, so that ignored and wrong labels need no mask, and the
            # index fits uint16: 4 times less memory traffic than int64.
            index = truth.astype(np.uint16)
            rows = 256
        else:
            self._refuse_truth(np.unique(truth), name)
            index = np.where(truth == self.ignore_index, k, truth).astype(np.int64)
            rows = k + 1
        index *= k
        index += prediction.astype(index.dtype, copy=False)
        table = _histogram(index.ravel(), rows * k).reshape(rows, k)
        if rows == 256:
            self._refuse_truth(np.flatnonzero(table.any(axis=1)), name)
        if 0 <= self.ignore_index < k:
            table[self.ignore_index] = 0
        return table[:k]

    def _refuse_truth(self, values: NDArray[Any], name: str) -> None:
        allowed = {*range(self.classes), self.ignore_index}
        wrong = sorted(set(values.tolist()) - allowed)
        if wrong:
            raise InputError(
                f"Expected labels 0..{self.classes - 1} or {self.ignore_index} (ignored) in "
                f"{name}, but got {wrong[:5]}: check the data set's label map."
            )

    def _refuse_prediction(self, prediction: Labels, name: str) -> None:
        if prediction.size == 0:
            raise InputError(f"Expected pixels in {name}, but it is empty.")
        low, high = int(prediction.min()), int(prediction.max())
        if low < 0 or high >= self.classes:
            raise InputError(
                f"Expected predictions 0..{self.classes - 1} for {name}, but got {low}..{high}: "
                "the artifact and the data set have different classes."
            )


def _histogram(index: NDArray[Any], length: int) -> NDArray[np.int64]:
    """Return how often each of 0..length-1 occurs, as `np.bincount` does.

    Label maps are piecewise constant along rows: counting runs takes a quarter of the time of
    counting pixels. Run lengths are summed in float64, exact up to 2**53 pixels.
    """
    ends = np.flatnonzero(index[1:] != index[:-1])
    if ends.size > index.size // 8:  # noise: there is nothing to gain
        return np.bincount(index, minlength=length)
    values = np.append(index[ends], index[-1])
    lengths = np.diff(ends, prepend=-1, append=index.size - 1)
    return np.bincount(values, weights=lengths, minlength=length).astype(np.int64)


def counts_of(matrix: NDArray[np.int64]) -> Counts:
    """Return float64 (K,3) intersection, truth and prediction pixels of a (K,K) matrix.

    >>> counts_of(np.array([[3, 1], [0, 2]])).tolist()
    [[3.0, 4.0, 3.0], [2.0, 2.0, 3.0]]
    """
    parts = (np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0))
    return np.stack(parts, axis=-1).astype(np.float64)


def iou(counts: Counts) -> NDArray[np.float64]:
    """Return IoU (...,K) of counts (...,K,3); NaN where truth and prediction are both empty."""
    hit = counts[..., INTERSECTION]
    return _share(hit, counts[..., TRUTH] + counts[..., PREDICTION] - hit)


def miou(counts: Counts, keep: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return the mean IoU (...) of counts (...,K,3), NaN classes skipped; NaN if all are.

    `keep` (K,) marks the classes in the mean; None takes all.

    >>> float(miou(np.array([[1.0, 1, 2], [0, 0, 0]])))
    0.5
    """
    return _known_mean(iou(counts if keep is None else counts[..., keep, :]))


def class_accuracy(counts: Counts) -> NDArray[np.float64]:
    """Return the share of each class's truth that was found, (...,K); NaN without truth."""
    return _share(counts[..., INTERSECTION], counts[..., TRUTH])


def f1(counts: Counts) -> NDArray[np.float64]:
    """Return 2·TP / (truth + predicted) (...,K) of counts (...,K,3); NaN where both are empty."""
    return _share(2 * counts[..., INTERSECTION], counts[..., TRUTH] + counts[..., PREDICTION])


def mean_over(values: NDArray[np.float64], keep: NDArray[np.bool_]) -> float | None:
    """Return the mean of the finite values (K,) of the classes that `keep` (K,) marks, or None."""
    known = values[keep & np.isfinite(values)]
    return float(known.mean()) if known.size else None


def pixel_accuracy(matrix: NDArray[np.int64]) -> float:
    """Return the share of scored pixels on the diagonal; NaN when none was scored."""
    total = int(matrix.sum())
    return int(np.trace(matrix)) / total if total else float("nan")


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return part / whole, NaN where `whole` is 0."""
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _known_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "mean of empty slice" is our NaN
        return np.asarray(np.nanmean(values, axis=-1))


class Agreement:
    """Streaming share of scored pixels on which two predictions are the same label."""

    def __init__(self, ignore_index: int) -> None:
        """Start at zero pixels."""
        self.ignore_index = ignore_index
        self.scored = 0
        self.same = 0

    def update(self, truth: Labels, baseline: Labels, prediction: Labels) -> float:
        """Add one image's (H,W) label maps and return the share on this image (1.0 if none)."""
        equal = baseline == prediction
        ignored = truth == self.ignore_index
        lost = int(np.count_nonzero(ignored))
        same = int(np.count_nonzero(equal))
        if lost:
            same -= int(np.count_nonzero(equal & ignored))
        scored = truth.size - lost
        self.scored += scored
        self.same += same
        return same / scored if scored else 1.0

    @property
    def share(self) -> float:
        """The share over all images so far; NaN before the first scored pixel."""
        return self.same / self.scored if self.scored else float("nan")
