"""Accuracy of several models on one data set in one pass over it.

The loop decodes every image once and preprocesses it once per distinct preprocessing; what it
adds to that and to `session.run` is one sparse argmax and one bincount per model and image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import CheckFailedError
from ..common.progress import track
from ..data.contract import Contract, InputKind
from ..data.dataset import Dataset
from ..data.loader import Prepared, prefetch
from ..data.preprocess import preprocess
from ..runtimes.labels import labels_from_output
from ..runtimes.session import Session
from .bootstrap import PairedBootstrap
from .confusion import Agreement, Confusion, Counts, counts_of, iou, miou, pixel_accuracy
from .examples import ExampleKeeper
from .opened import segmentation_output, static_batch
from .record import Accuracy, Example

Labels = NDArray[Any]


@dataclass(frozen=True)
class Subject:
    """One opened model: its session, the contract at the size to use, and the post-processing."""

    name: str
    session: Session
    contract: Contract
    postprocess: str = "sparse"

    @property
    def preprocessing(self) -> tuple[object, ...]:
        """What decides the input array; subjects with equal values share it."""
        item = self.contract
        geometry = (item.size_px, item.resize, item.resample, item.channel_order, item.input)
        if item.input is InputKind.UINT8:
            return geometry
        return (*geometry, item.scale, item.mean, item.std)

    def predict(self, pixels: Labels, size_px: tuple[int, int]) -> Labels:
        """Return labels (H,W) at `size_px` for pixels (1,3,h,w).

        A static artifact of batch N gets the image N times.
        """
        batch = static_batch(self.session)
        if batch > 1:
            pixels = np.repeat(pixels, batch, axis=0)
        output = segmentation_output(self.session.run(pixels))[:1]
        labels = labels_from_output(output, self.contract, size_px, method=self.postprocess)
        return np.asarray(labels[0])


@dataclass(frozen=True)
class AccuracyRule:
    """Which images, how many bootstrap replicates and how many examples to keep."""

    limit: int | None = None
    replicates: int = 1000
    seed: int = 0
    examples: int = 4


@dataclass(frozen=True)
class AccuracyResult:
    """One `Accuracy` per subject, in order, and the images for the eye."""

    accuracies: tuple[Accuracy, ...]
    examples: tuple[Example, ...]


def measure_accuracy(
    subjects: Sequence[Subject],
    dataset: Dataset,
    *,
    palette: tuple[tuple[int, int, int], ...],
    rule: AccuracyRule = AccuracyRule(),
    progress: bool = True,
) -> AccuracyResult:
    """Run every subject over `dataset`; the first is the baseline the others are compared with.

    Raises:
        InputError: labels or predictions are out of range, or a file is broken.
        CheckFailedError: no pixel of the data set was scored.
    """
    total = min(len(dataset), rule.limit or len(dataset))
    scores = _Scores(subjects, dataset, palette, rule)
    stream: Iterable[Prepared] = prefetch(dataset, subjects[0].contract, limit=rule.limit)
    for item in track(stream, "accuracy", total) if progress else stream:
        scores.add(item, _predict(subjects, item))
    return scores.result()


def _predict(subjects: Sequence[Subject], item: Prepared) -> list[Labels]:
    """Return one label map (H,W) per subject for a prepared image."""
    size = (item.labels.shape[0], item.labels.shape[1])
    inputs = {subjects[0].preprocessing: item.pixels}
    predictions = []
    for subject in subjects:
        key = subject.preprocessing
        if key not in inputs:
            inputs[key] = preprocess(item.image, subject.contract)
        predictions.append(subject.predict(inputs[key], size))
    return predictions


class _Scores:
    """Everything that accumulates over the images; its size does not depend on their number."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        dataset: Dataset,
        palette: tuple[tuple[int, int, int], ...],
        rule: AccuracyRule,
    ) -> None:
        classes, ignore = subjects[0].contract.num_classes, dataset.ignore_index
        self.names = [subject.name for subject in subjects]
        self.images = 0
        self.confusions = [Confusion(classes, ignore) for _ in subjects]
        self.agreements = [Agreement(ignore) for _ in subjects[1:]]
        self.bootstrap = PairedBootstrap(
            len(subjects), classes, replicates=rule.replicates, seed=rule.seed
        )
        self.keeper = ExampleKeeper(rule.examples, palette, ignore)

    def add(self, item: Prepared, predictions: Sequence[Labels]) -> None:
        """Score one image's predictions (one per subject)."""
        truth = item.labels
        counts = np.stack(
            [
                confusion.update(truth, prediction, item.name)
                for confusion, prediction in zip(self.confusions, predictions, strict=True)
            ]
        )
        shares = [
            agreement.update(truth, predictions[0], prediction)
            for agreement, prediction in zip(self.agreements, predictions[1:], strict=True)
        ]
        if len(predictions) > 1:
            self.bootstrap.add(self.images, counts)
        self.keeper.offer(
            self.images,
            item.name,
            image=item.image,
            truth=truth,
            predictions=predictions,
            agreement=shares,
            accuracy=_hit_share(counts[0]),
        )
        self.images += 1

    def result(self) -> AccuracyResult:
        """Return the accuracies and examples of all images seen."""
        if not self.confusions[0].matrix.any():
            raise CheckFailedError(
                f"Expected scored pixels, but all of {self.images} images hold only the ignored "
                "label: check the data set's labels."
            )
        base = self._plain(0)
        others = (self._compared(index, base) for index in range(1, len(self.names)))
        return AccuracyResult((base, *others), self.keeper.examples(self.names))

    def _plain(self, index: int) -> Accuracy:
        matrix = self.confusions[index].matrix
        counts = counts_of(matrix)
        return Accuracy(
            images=self.images,
            miou=float(miou(counts)),
            iou=tuple(None if np.isnan(value) else float(value) for value in iou(counts)),
            pixel_accuracy=pixel_accuracy(matrix),
            confusion=tuple(tuple(row) for row in matrix.tolist()),
        )

    def _compared(self, index: int, base: Accuracy) -> Accuracy:
        plain = self._plain(index)
        pairs = zip(base.iou, plain.iou, strict=True)
        return Accuracy(
            images=plain.images,
            miou=plain.miou,
            iou=plain.iou,
            pixel_accuracy=plain.pixel_accuracy,
            confusion=plain.confusion,
            drop=self.bootstrap.drop(index, miou_drop=base.miou - plain.miou),
            pixel_agreement=self.agreements[index - 1].share,
            iou_drop=tuple(None if a is None or b is None else a - b for a, b in pairs),
        )


def _hit_share(counts: Counts) -> float:
    """Return the pixel accuracy of one image's counts (K,3), 1 where nothing was scored."""
    scored = float(counts[:, 1].sum())
    return float(counts[:, 0].sum()) / scored if scored else 1.0
