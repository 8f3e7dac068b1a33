"""The images a calibration sees: chosen, compared with the evaluation data, described."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from ..data.contract import Contract
from ..data.dataset import Dataset
from ..data.loader import prefetch
from ..data.spec import open_dataset
from .coverage import Coverage, all_label_counts, coverage_of, label_counts, mean_luma, notes_on
from .fingerprint import Fingerprint, Twin, find_twins, fingerprint_of, fingerprints
from .noise import Noise
from .sampling import choose_images
from .stratified import choose_stratified

STRATEGIES = ("random", "stratified")
_NOISE = re.compile(r"random:([1-9][0-9]*)")
_NAMED = 5  # pairs of file names a refusal lists


@dataclass(frozen=True)
class CalibrationSet:
    """Chosen images of a data set; `digest` is the SHA-256 over their pixels, in any order.

    `indices` are ascending, `names` theirs. `notes` holds what a user should know, a line each.
    """

    name: str
    indices: tuple[int, ...]
    digest: str
    notes: tuple[str, ...]
    coverage: Coverage
    names: tuple[str, ...]
    contract: Contract
    dataset: Dataset = field(repr=False)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.indices)

    def pixels(self) -> Iterator[NDArray[Any]]:
        """Yield every image as the contract's input (1,3,H,W), anew on every call."""
        for item in prefetch(self.dataset, self.contract, indices=self.indices):
            yield item.pixels


def open_calibration(
    data: str,
    contract: Contract,
    *,
    images: int = 128,
    seed: int = 0,
    strategy: str = "random",
    evaluation: str | None = None,
    allow_overlap: bool = False,
) -> CalibrationSet:
    """Choose `images` of `data` and make sure that none is in the data `evaluation`.

    Args:
        data: data specification, or `random:N` for N images of noise (never meant to be trusted).
        contract: what the images become.
        images: how many; all where there are fewer.
        seed: of the choice.
        strategy: "random", or "stratified" by class (reads every label once).
        evaluation: data specification of what the result is judged on; None checks nothing.
        allow_overlap: turn the refusal of shared images into a note.

    Raises:
        InputError: images that are evaluation images (names the files), stratified data without
            labels, an unknown strategy, or what `open_dataset` refuses.
    """
    dataset = _noise(data, contract) or open_dataset(data, contract=contract)
    if isinstance(dataset, Noise):
        indices: tuple[int, ...] = tuple(range(len(dataset)))
    else:
        indices = _choose(dataset, images, seed, strategy)
    marks, coverage = _look_at(dataset, indices)
    notes = [*dataset.notes, *notes_on(coverage, dataset.name)]
    if evaluation is not None:
        notes.extend(_overlap(marks, data, evaluation, contract, allow_overlap))
    pixels = "".join(sorted(mark.pixels for mark in marks))
    return CalibrationSet(
        name=data,
        indices=indices,
        digest=hashlib.sha256(pixels.encode()).hexdigest(),
        notes=tuple(notes),
        coverage=coverage,
        names=tuple(mark.name for mark in marks),
        contract=contract,
        dataset=dataset,
    )


def _noise(data: str, contract: Contract) -> Dataset | None:
    """Return the noise `data` asks for by its exact name, None for any other data."""
    if data.partition(":")[0] != "random":
        return None
    named = _NOISE.fullmatch(data)
    if named is None:
        raise InputError(
            f"Expected random:N with a number N of 1 or more, but got {data!r}: noise is used only "
            "when asked for by this name."
        )
    return Noise(int(named.group(1)), contract.size_px)


def _choose(dataset: Dataset, images: int, seed: int, strategy: str) -> tuple[int, ...]:
    if strategy not in STRATEGIES:
        raise InputError(f"Expected a strategy of {', '.join(STRATEGIES)}, but got {strategy!r}.")
    if strategy == "random":
        return choose_images(len(dataset), images, seed=seed)
    if not (dataset.has_labels and dataset.classes):
        raise InputError(
            f"Expected labels to choose by class, but {dataset.name} has none: use the random "
            "strategy."
        )
    return choose_stratified(all_label_counts(dataset), images, seed=seed)


def _look_at(dataset: Dataset, indices: Sequence[int]) -> tuple[tuple[Fingerprint, ...], Coverage]:
    """Read every chosen sample once for its fingerprint, brightness and labels."""
    marks, luma, counts = [], [], []
    for index in indices:
        sample = dataset.sample(index)
        marks.append(fingerprint_of(sample, dataset.image_bytes(index)))
        luma.append(mean_luma(sample))
        counts.append(label_counts(sample.labels, len(dataset.classes), dataset.ignore_index))
    return tuple(marks), coverage_of(luma, np.array(counts), dataset.classes)


def _overlap(
    marks: Sequence[Fingerprint], data: str, evaluation: str, contract: Contract, allowed: bool
) -> tuple[str, ...]:
    """Return a note on shared images where they are `allowed`, else refuse them."""
    judged = open_dataset(evaluation, contract=contract)
    twins = find_twins(marks, fingerprints(judged, range(len(judged))))
    if not twins:
        return ()
    shared = f"{len(twins)} of {len(marks)} images of {data} are in {evaluation} ({_list(twins)})"
    if allowed:
        return (f"warning: {shared}: the accuracy is measured on images that were calibrated on.",)
    raise InputError(
        f"Expected calibration images that are no evaluation images, but {shared}: calibrate on "
        "another split, or insist with --allow-overlap."
    )


def _list(twins: Sequence[Twin]) -> str:
    """Name the first pairs.

    >>> _list([Twin("a.png", "b.png", "same pixels")])
    'a.png = b.png, same pixels'
    """
    named = [f"{item.name} = {item.other}, {item.why}" for item in twins[:_NAMED]]
    more = len(twins) - len(named)
    return "; ".join([*named, f"and {more} more"] if more else named)
