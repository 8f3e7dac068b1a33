"""What every data set has: named images with labels, classes, colours, a hash."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from ..common.files import sha256_file
from .masks import ColourKey, read_mask
from .palette import Image8, Labels, Palette
from .preprocess import decode


@dataclass(frozen=True)
class Sample:
    """One image with its labels.

    `image` is RGB (H,W,3) uint8, `labels` (H,W) uint8, or int32 where a label is above 255.
    `depth` (H,W) float32 is in the data set's unit, 0 where it is not known; None without depth.
    """

    name: str
    image_path: Path | None
    image: Image8
    labels: Labels
    depth: NDArray[np.float32] | None = None


class Dataset(ABC):
    """Samples by number; reading one never changes the data set, so threads may share it.

    `classes` and `palette` are empty where neither the data nor the contract states them.
    `notes` says what was decided about the files (masks of 0 and 255 read as two classes, …).
    With `has_depth` every sample has depth; without `has_labels` every label is an ignored one.
    """

    name: str
    classes: tuple[str, ...]
    palette: Palette
    ignore_index: int
    notes: tuple[str, ...] = ()
    has_depth: bool = False
    has_labels: bool = True

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def sample(self, index: int) -> Sample:
        """Return sample number `index`, read now.

        Raises:
            InputError: a file is broken, or a label is out of range (names the file).
        """

    @abstractmethod
    def image_bytes(self, index: int) -> bytes | None:
        """Return the encoded image that `sample(index).image` is decoded from."""

    @abstractmethod
    def digest(self) -> str:
        """Return the SHA-256 over the names and bytes of everything the samples come from."""


@dataclass(frozen=True)
class FilePair:
    """An image file and its mask; `name` identifies the pair within its data set."""

    name: str
    image: Path
    mask: Path


class FileDataset(Dataset):
    """Pairs of image and mask files below one folder."""

    def __init__(self, name: str, root: Path, pairs: Sequence[FilePair]) -> None:
        """Keep the pairs, at least one, in the given order."""
        if not pairs:
            raise InputError(f"Expected images in {root}, but {name} has none: check the path.")
        self.name = name
        self.root = root
        self.pairs = tuple(pairs)
        self.classes = ()
        self.palette = ()
        self.ignore_index = 255
        self.key: ColourKey | None = None
        self.extra_files: tuple[Path, ...] = ()  # what gives the masks their meaning

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def image_bytes(self, index: int) -> bytes:
        """Return the bytes of image file number `index`."""
        return self.pairs[index].image.read_bytes()

    def sample(self, index: int) -> Sample:
        """Read image and mask number `index` and check that they fit each other."""
        pair = self.pairs[index]
        image = decode(self.image_bytes(index), str(pair.image))
        labels = self.map_labels(read_mask(pair.mask, self.key))
        if labels.shape != image.shape[:2]:
            raise InputError(
                f"Expected a mask of its image's size {image.shape[:2]}, but {pair.mask} is "
                f"{labels.shape}: export the mask again (an EXIF orientation turns the image only)."
            )
        refuse_out_of_range(labels, len(self.classes), self.ignore_index, pair.mask)
        return Sample(pair.name, pair.image, image, labels)

    def map_labels(self, labels: Labels) -> Labels:
        """Return the labels that stand for the values a mask file holds."""
        return labels

    def digest(self) -> str:
        """Return the SHA-256 over relative names and file bytes, streamed."""
        digest = hashlib.sha256()
        files = [file for pair in self.pairs for file in (pair.image, pair.mask)]
        for file in (*files, *self.extra_files):
            relative = file.relative_to(self.root).as_posix()
            digest.update(f"{relative}\0{sha256_file(file)}\n".encode())
        return digest.hexdigest()


def refuse_out_of_range(labels: Labels, classes: int, ignore_index: int, file: Path) -> None:
    """Raise where a label is neither ignored nor below `classes` (0 classes: nothing is known)."""
    if not classes or not labels.size or int(labels.max()) < classes:
        return
    wrong = (labels >= classes) & (labels != ignore_index)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"Expected labels 0 to {classes - 1} or {ignore_index} (ignored), but {file} has label "
            f"{labels[row, column]} at row {row}, column {column}: check the classes or the mask."
        )
