"""What every data set has: named images with labels, classes, colours, a hash."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from ..common.files import sha256_file
from .depth_file import MILLIMETRE, read_depth
from .label_table import look_up
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
    """An image file with its mask, its depth or both; `name` identifies it in its data set."""

    name: str
    image: Path
    mask: Path | None
    depth: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files there are."""
        return tuple(file for file in (self.image, self.mask, self.depth) if file is not None)


class FileDataset(Dataset):
    """Pairs of image and mask files below one folder.

    `key` reads masks in colour, `table` is what their values mean (None: what they say), and
    depth images hold whole numbers of `depth_unit_m`. A pair without a mask is ignored whole.
    """

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
        self.table: Labels | None = None
        self.depth_unit_m = MILLIMETRE
        self.has_depth = all(pair.depth is not None for pair in self.pairs)
        self.has_labels = any(pair.mask is not None for pair in self.pairs)
        self.extra_files: tuple[Path, ...] = ()  # what gives the masks their meaning

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def image_bytes(self, index: int) -> bytes:
        """Return the bytes of image file number `index`."""
        return self.pairs[index].image.read_bytes()

    def sample(self, index: int) -> Sample:
        """Read the files of pair number `index` and check that they fit each other."""
        pair = self.pairs[index]
        image = decode(self.image_bytes(index), str(pair.image))
        size_px = (image.shape[0], image.shape[1])
        depth = None
        if pair.depth is not None:
            depth = read_depth(pair.depth, self.depth_unit_m)
            refuse_other_size(depth.shape, size_px, "a depth map", pair.depth)
        return Sample(pair.name, pair.image, image, self._labels(pair, size_px), depth)

    def map_labels(self, labels: Labels) -> Labels:
        """Return the labels that stand for the values a mask file holds."""
        return labels if self.table is None else look_up(labels, self.table)

    def _labels(self, pair: FilePair, size_px: tuple[int, int]) -> Labels:
        if pair.mask is None:
            return all_ignored(size_px, self.ignore_index)
        labels = self.map_labels(read_mask(pair.mask, self.key))
        refuse_other_size(labels.shape, size_px, "a mask", pair.mask)
        refuse_out_of_range(labels, len(self.classes), self.ignore_index, pair.mask)
        return labels

    def digest(self) -> str:
        """Return the SHA-256 over relative names, file bytes and the table, streamed."""
        files = [file for pair in self.pairs for file in pair.files]
        digest = digest_files(self.root, (*files, *self.extra_files))
        if self.table is not None:
            digest.update(f"{self.table.tolist()}/{self.ignore_index}\n".encode())
        if self.has_depth:
            digest.update(f"{self.depth_unit_m}\n".encode())
        return digest.hexdigest()


def digest_files(root: Path, files: Iterable[Path]) -> hashlib._Hash:
    """Return a SHA-256 in progress over the files' names relative to `root` and their bytes.

    Of a file outside `root` only its own name counts, so that data may be moved.
    """
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
        digest.update(f"{name}\0{sha256_file(file)}\n".encode())
    return digest


def all_ignored(size_px: tuple[int, int], ignore_index: int) -> Labels:
    """Return labels of (height, width) none of which is scored."""
    return np.full(size_px, ignore_index, np.uint8 if ignore_index < 256 else np.int32)


def refuse_other_size(
    size_px: tuple[int, ...], image_px: tuple[int, int], what: str, file: Path
) -> None:
    """Raise where a mask or depth map has not the size of its image."""
    if size_px != image_px:
        raise InputError(
            f"Expected {what} of its image's size {image_px}, but {file} is {size_px}: export it "
            "again (an EXIF orientation turns the image only)."
        )


def refuse_out_of_range(
    labels: Labels, classes: int, ignore_index: int, file: Path, place: int | None = None
) -> None:
    """Raise where a label is neither ignored nor below `classes` (0 classes: nothing is known).

    `place` is the number of the image within a file of many.
    """
    if not classes or not labels.size or int(labels.max()) < classes:
        return
    wrong = (labels >= classes) & (labels != ignore_index)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        of_image = "" if place is None else f"image {place}, "
        raise InputError(
            f"Expected labels 0 to {classes - 1} or {ignore_index} (ignored), but {file} has label "
            f"{labels[row, column]} at {of_image}row {row}, column {column}: check the classes "
            "or the mask."
        )
