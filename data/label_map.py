"""A data set of another label space, read in the model's."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ..common.errors import InputError
from .contract import Contract
from .dataset import Dataset, Sample
from .label_table import label_table, look_up, map_labels
from .palette import default_palette

__all__ = ["MappedDataset", "map_labels"]


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
