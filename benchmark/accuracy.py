"""Accuracy of several models on one data set in one pass over it.

The loop decodes every image once and preprocesses it once per distinct preprocessing; what it
adds to that and to `session.run` is one sparse argmax and one bincount per model and image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ..common.errors import CheckFailedError
from ..common.progress import track
from ..data.dataset import Dataset
from ..data.loader import Prepared, prefetch
from ..data.palette import Palette
from ..data.preprocess import preprocess
from ..runtimes.labels import resize_nearest
from .checks import refuse_missing_truth
from .depth import DepthErrors, with_change
from .examples import ExampleKeeper
from .label_scores import LabelScores, without_comparison
from .opened import DEPTH, label_names, labelling_head
from .record import Accuracy, DepthAccuracy, Example
from .scoring import WHOLE_IMAGE, Scoring
from .subject import Seen, Subject

Map = NDArray[Any]


@dataclass(frozen=True)
class AccuracyRule:
    """Which images, how many bootstrap replicates and examples, and how they are scored."""

    limit: int | None = None
    replicates: int = 1000
    seed: int = 0
    examples: int = 4
    scoring: Scoring = WHOLE_IMAGE


@dataclass(frozen=True)
class AccuracyResult:
    """One `Accuracy` and one `DepthAccuracy` per subject, in order, and the images for the eye.

    None where the subject has no such head or the data no such truth; `notes` say which.
    `data_notes` say how the data set's labels were read.
    """

    images: int
    accuracies: tuple[Accuracy | None, ...]
    depths: tuple[DepthAccuracy | None, ...]
    examples: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    data_notes: tuple[str, ...] = ()


def measure_accuracy(
    subjects: Sequence[Subject],
    dataset: Dataset,
    *,
    palette: Palette,
    rule: AccuracyRule = AccuracyRule(),
    progress: bool = True,
) -> AccuracyResult:
    """Run every subject over `dataset`; the first is the baseline the others are compared with.

    Raises:
        InputError: labels or predictions are out of range, a file is broken, or the data set has
            nothing that these models predict.
        CheckFailedError: no pixel of the data set was scored.
    """
    total = min(len(dataset), rule.limit or len(dataset))
    scores = _Scores(subjects, dataset, palette, rule)
    stream: Iterable[Prepared] = prefetch(dataset, subjects[0].contract, limit=rule.limit)
    for item in track(stream, "accuracy", total) if progress else stream:
        labels, depth = _truth(item, rule.scoring.at, wants_depth=bool(scores.depths))
        scores.add(item, labels, depth, _see(subjects, item, labels, depth))
    return scores.result()


def _truth(item: Prepared, at: str, *, wants_depth: bool) -> tuple[Map, Map | None]:
    """Return labels and depth (H,W) at the size they are scored at."""
    depth = item.depth if wants_depth else None
    if at == "label":
        return item.labels, depth
    size_px = (item.pixels.shape[2], item.pixels.shape[3])
    labels = resize_nearest(item.labels[None], size_px)[0]
    return labels, None if depth is None else resize_nearest(depth[None], size_px)[0]


def _see(subjects: Sequence[Subject], item: Prepared, labels: Map, depth: Map | None) -> list[Seen]:
    """Return what each subject sees in a prepared image, at the sizes of the truth."""
    labels_px = (labels.shape[0], labels.shape[1])
    depth_px = None if depth is None else (depth.shape[0], depth.shape[1])
    inputs = {subjects[0].preprocessing: item.pixels}
    found = []
    for subject in subjects:
        key = subject.preprocessing
        if key not in inputs:
            inputs[key] = preprocess(item.image, subject.contract)
        found.append(subject.see(inputs[key], labels_px, depth_px))
    return found


class _Scores:
    """Everything that accumulates over the images: per image a few counts, no pixel."""

    def __init__(
        self, subjects: Sequence[Subject], dataset: Dataset, palette: Palette, rule: AccuracyRule
    ) -> None:
        self.count, self.images, self.name = len(subjects), 0, dataset.name
        self.data_notes = dataset.notes
        refuse_missing_truth([item.contract for item in subjects], dataset)
        label = [i for i, item in enumerate(subjects) if labelling_head(item.contract)]
        deep = [i for i, item in enumerate(subjects) if DEPTH in item.contract.heads]
        self.notes = []
        if label and not dataset.has_labels:
            self.notes.append(f"Segmentation is left out: {self.name} has no labels.")
        if deep and not dataset.has_depth:
            self.notes.append(f"Depth is left out: {self.name} has none.")
        self.labelling = label if dataset.has_labels else []
        self.depths = {i: DepthErrors() for i in deep if dataset.has_depth}
        self.labels = _label_scores(subjects, self.labelling, dataset, palette, rule)

    def add(self, item: Prepared, labels: Map, depth: Map | None, seen: Sequence[Seen]) -> None:
        """Score what every subject saw in one image."""
        self.images += 1
        found = [seen[i].labels for i in self.labelling]
        if self.labels:
            maps = [item for item in found if item is not None]
            self.labels.add(item.name, item.image, labels, maps)
        for index, errors in self.depths.items():
            prediction = seen[index].depth
            if depth is not None and prediction is not None:
                errors.update(depth, prediction, item.name)

    def result(self) -> AccuracyResult:
        """Return the accuracies and examples of all images seen."""
        depths = self._depths()
        if not (self.labels and self.labels.scored) and not any(depths):
            raise CheckFailedError(
                f"Expected scored pixels, but all of {self.images} images hold only the ignored "
                "label: check the data set's labels."
            )
        accuracies: list[Accuracy | None] = [None] * self.count
        examples: tuple[Example, ...] = ()
        if self.labels and self.labels.scored:
            compared = self.labelling[0] == 0
            for index, accuracy in zip(self.labelling, self.labels.result(), strict=True):
                accuracies[index] = accuracy if compared else without_comparison(accuracy)
            examples = self.labels.examples() if compared else ()
        if self.labels and not self.labels.scored:
            self.notes.append(f"Segmentation is left out: {self.name} has no labelled pixel.")
        if self.depths and not any(depths):
            self.notes.append(f"Depth is left out: {self.name} has no valid depth.")
        notes = (tuple(self.notes), self.data_notes)
        found = (tuple(accuracies), tuple(depths), examples, *notes)
        return AccuracyResult(self.images, *found)

    def _depths(self) -> list[DepthAccuracy | None]:
        """Return one result per subject, the others with their difference to the baseline."""
        found = [
            self.depths[index].result() if index in self.depths else None
            for index in range(self.count)
        ]
        base = found[0]
        others = [with_change(item, base) if item and base else item for item in found[1:]]
        return [base, *others]


def _label_scores(
    subjects: Sequence[Subject],
    chosen: Sequence[int],
    dataset: Dataset,
    palette: Palette,
    rule: AccuracyRule,
) -> LabelScores | None:
    """Return the scores of the subjects that label, compared with the baseline if it does."""
    if not chosen:
        return None
    first = subjects[chosen[0]].contract
    names = dataset.classes or label_names(first)
    return LabelScores(
        [subjects[index].name for index in chosen],
        first.num_classes,
        dataset.ignore_index,
        replicates=rule.replicates,
        seed=rule.seed,
        levels=rule.scoring.levels,
        excluded=rule.scoring.excluded(names, first.num_classes),
        boundary=rule.scoring.boundary,
        keeper=ExampleKeeper(rule.examples, palette, dataset.ignore_index),
    )
