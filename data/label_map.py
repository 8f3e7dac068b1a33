"""Labels of one space read as labels of another: a look-up table, and a data set seen through it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from .contract import Contract
from .dataset import Dataset, Sample
from .palette import Labels, default_palette

LabelPairs = Iterable[tuple[int, int]]
_HIGHEST = 65535  # what a 16-bit mask can hold


def map_labels(labels: Labels, pairs: LabelPairs, ignore_index: int) -> Labels:
    """Return `labels` (H,W) with each label replaced as (label in the data, new label) says.

    A label that no pair lists becomes `ignore_index`. uint8, or int32 where a new label is
    above 255.

    Raises:
        InputError: a label is listed twice, or is outside 0..65535.

    >>> map_labels(np.array([[7, 8, 9]], np.uint8), [(7, 0), (8, 1)], 255)
    array([[  0,   1, 255]], dtype=uint8)
    """
    return look_up(labels, label_table(pairs, ignore_index), ignore_index)


def label_table(pairs: LabelPairs, ignore_index: int) -> Labels:
    """Return the look-up table (256 or more entries) that `pairs` describe.

    Raises:
        InputError: a label is listed twice, or is outside 0..65535.
    """
    listed = [(int(old), int(new)) for old, new in pairs]
    known: dict[int, int] = {}
    for old, new in listed:
        if not 0 <= old <= _HIGHEST or not 0 <= new <= _HIGHEST:
            raise InputError(
                f"Expected labels 0 to {_HIGHEST} in a label map, but got {old}: {new}: leave out "
                "what is to be ignored."
            )
        if known.setdefault(old, new) != new:
            raise InputError(
                f"Expected one new label per label, but the label map gives {old} both "
                f"{known[old]} and {new}: remove one."
            )
    highest = max([ignore_index, *known.values()])
    table: Labels = np.full(
        max([255, *known]) + 1, ignore_index, np.uint8 if highest < 256 else np.int32
    )
    for old, new in known.items():
        table[old] = new
    return table


def look_up(labels: Labels, table: Labels, ignore_index: int) -> Labels:
    """Return `table[labels]`; labels beyond the table become `ignore_index`."""
    if labels.dtype == np.uint8:  # the table has 256 entries or more
        return table[labels]
    beyond: NDArray[np.bool_] = labels >= len(table)
    if not beyond.any():
        return table[labels]
    found = table[np.where(beyond, 0, labels)]
    found[beyond] = ignore_index
    return found


class MappedDataset(Dataset):
    """A data set of another label space, read in the model's: `contract.label_map` applied."""

    def __init__(self, inner: Dataset, contract: Contract) -> None:
        """Wrap `inner`; classes, colours and the ignored label come from `contract`.

        Raises:
            InputError: a pair names a label the model does not have.
        """
        for old, new in contract.label_map:
            if contract.classes and new != contract.ignore_index and new >= contract.num_classes:
                raise InputError(
                    f"Expected new labels 0 to {contract.num_classes - 1} or "
                    f"{contract.ignore_index} in the label map, but it says {old}: {new}."
                )
        self.inner = inner
        self.name = inner.name
        one = contract.threshold is not None and len(contract.classes) == 1
        self.classes = ("background", *contract.classes) if one else contract.classes
        fits = len(contract.palette) == len(self.classes)
        self.palette = contract.palette if fits else default_palette(len(self.classes))
        self.ignore_index = contract.ignore_index
        self.has_depth = inner.has_depth
        self.has_labels = inner.has_labels
        self.pairs = contract.label_map
        self.table = label_table(contract.label_map, contract.ignore_index)
        self.notes = (
            *inner.notes,
            f"labels are mapped to the model's by the contract's label map "
            f"({len(contract.label_map)} pairs), others are ignored",
        )

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.inner)

    def sample(self, index: int) -> Sample:
        """Return sample number `index` with its labels mapped."""
        sample = self.inner.sample(index)
        return replace(sample, labels=look_up(sample.labels, self.table, self.ignore_index))

    def image_bytes(self, index: int) -> bytes | None:
        """Return the encoded image of sample number `index`."""
        return self.inner.image_bytes(index)

    def digest(self) -> str:
        """Return the SHA-256 over the data and the map."""
        text = f"{self.inner.digest()}/{self.pairs}/{self.ignore_index}"
        return hashlib.sha256(text.encode()).hexdigest()
