"""Segmentation accuracy of several models, accumulated image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import CheckFailedError
from .bootstrap import PairedBootstrap
from .boundary import RULE, BoundaryScores, Tolerance
from .confusion import (
    Agreement,
    Confusion,
    Counts,
    class_accuracy,
    counts_of,
    f1,
    iou,
    mean_over,
    miou,
    pixel_accuracy,
)
from .examples import ExampleKeeper
from .image_counts import pack_counts
from .levels import Level, LevelMean
from .record import Accuracy, Example
from .robustness import Boundary

Labels = NDArray[Any]


class LabelScores:
    """Scores of M models on K classes; per image it keeps 12·M·K bytes of counts, nothing else.

    `excluded` are the numbers of classes left out of every mean.
    """

    def __init__(
        self,
        names: Sequence[str],
        classes: int,
        ignore_index: int,
        *,
        replicates: int,
        seed: int,
        levels: Sequence[Level] = (),
        excluded: Sequence[int] = (),
        boundary: Tolerance | None = None,
        keeper: ExampleKeeper,
    ) -> None:
        """Start empty; the first name is the baseline."""
        self.names = list(names)
        self.images = 0
        self.excluded = tuple(excluded)
        self.keep = ~np.isin(np.arange(classes), self.excluded)
        self.confusions = [Confusion(classes, ignore_index) for _ in names]
        self.agreements = [Agreement(ignore_index) for _ in names[1:]]
        self.levels = [[LevelMean(level, classes, self.keep) for level in levels] for _ in names]
        self.bootstrap = PairedBootstrap(
            len(names), classes, replicates=replicates, seed=seed, keep=self.keep
        )
        self.boundaries = [
            BoundaryScores(classes, ignore_index, boundary) for _ in names if boundary
        ]
        self.keeper = keeper
        self.counts: list[NDArray[np.uint32]] = []  # (M,K,3) per image
        self.same: list[list[int]] = [[] for _ in names[1:]]

    @property
    def scored(self) -> bool:
        """Say whether any pixel was scored so far."""
        return bool(self.confusions) and bool(self.confusions[0].matrix.any())

    def add(
        self, name: str, image: NDArray[np.uint8], truth: Labels, predictions: Sequence[Labels]
    ) -> None:
        """Score one image (h,w,3): truth (H,W) and one prediction (H,W) per model.

        Raises:
            InputError: sizes differ, or a label is out of range.
        """
        pairs = zip(self.confusions, predictions, strict=True)
        counts = np.stack([confusion.update(truth, labels, name) for confusion, labels in pairs])
        shares = self._agree(truth, predictions)
        self.counts.append(counts.astype(np.uint32))
        for confusion, means in zip(self.confusions, self.levels, strict=True):
            for mean in means:
                mean.add(confusion.table)
        for outline, labels in zip(self.boundaries, predictions, strict=False):  # () unless asked
            outline.update(truth, labels)
        if len(predictions) > 1:
            self.bootstrap.add(self.images, counts)
        self.keeper.offer(
            self.images,
            name,
            image=image,
            truth=truth,
            predictions=predictions,
            agreement=shares,
            accuracy=_hit_share(counts[0]),
        )
        self.images += 1

    def _agree(self, truth: Labels, predictions: Sequence[Labels]) -> list[float]:
        """Return the share of pixels on which each candidate agrees with the baseline."""
        shares = []
        for agreement, prediction, known in zip(
            self.agreements, predictions[1:], self.same, strict=True
        ):
            before = agreement.same
            shares.append(agreement.update(truth, predictions[0], prediction))
            known.append(agreement.same - before)
        return shares

    def result(self) -> list[Accuracy]:
        """Return one accuracy per model, in order.

        Raises:
            CheckFailedError: no class in the mean was seen.
        """
        base = self._plain(0)
        others = (self._compared(index, base) for index in range(1, len(self.names)))
        return [base, *others]

    def examples(self) -> tuple[Example, ...]:
        """Return the images kept for the eye."""
        return self.keeper.examples(self.names)

    def _plain(self, index: int) -> Accuracy:
        matrix = self.confusions[index].matrix
        counts = counts_of(matrix)
        mean = float(miou(counts, self.keep))
        if not np.isfinite(mean):
            raise CheckFailedError(
                "Expected a scored pixel of a class in the mean, but only excluded ones occur: "
                "exclude fewer classes."
            )
        return Accuracy(
            images=self.images,
            miou=mean,
            iou=_values(iou(counts)),
            pixel_accuracy=pixel_accuracy(matrix),
            confusion=tuple(tuple(row) for row in matrix.tolist()),
            excluded=self.excluded,
            levels={item.level.words: item.value() for item in self.levels[index]},
            class_accuracy=_values(class_accuracy(counts)),
            mean_accuracy=mean_over(class_accuracy(counts), self.keep),
            f1=_values(f1(counts)),
            mean_f1=mean_over(f1(counts), self.keep),
            counts=pack_counts(
                [item[index] for item in self.counts], self.same[index - 1] if index else None
            ),
            boundary=self._boundary(index),
        )

    def _boundary(self, index: int) -> Boundary | None:
        if not self.boundaries:
            return None
        scores = self.boundaries[index]
        per_class = scores.result()
        mean = mean_over(np.array(per_class, np.float64), self.keep)
        return Boundary(scores.tolerance.words, mean, per_class, RULE)

    def _compared(self, index: int, base: Accuracy) -> Accuracy:
        plain = self._plain(index)
        pairs = zip(base.iou, plain.iou, strict=True)
        return replace(
            plain,
            drop=self.bootstrap.drop(index, miou_drop=base.miou - plain.miou),
            pixel_agreement=self.agreements[index - 1].share,
            iou_drop=tuple(None if a is None or b is None else a - b for a, b in pairs),
        )


def without_comparison(item: Accuracy) -> Accuracy:
    """Return an accuracy as it is where the baseline predicts no labels."""
    counts = item.counts and replace(item.counts, same="")
    return replace(item, drop=None, pixel_agreement=None, iou_drop=(), counts=counts)


def _values(scores: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in scores)


def _hit_share(counts: Counts) -> float:
    """Return the pixel accuracy of one image's counts (K,3), 1 where nothing was scored."""
    scored = float(counts[:, 1].sum())
    return float(counts[:, 0].sum()) / scored if scored else 1.0
