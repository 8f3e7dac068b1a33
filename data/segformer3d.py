"""Segformer3D's arrays: images, labels and depth in one .npy file per sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..common.errors import InputError
from .array_file import as_image, as_labels, open_array, png_of
from .cityscapes_labels import CLASSES, PALETTE
from .contract import Contract
from .dataset import (
    Dataset,
    FilePair,
    Sample,
    digest_files,
    refuse_other_size,
    refuse_out_of_range,
)
from .depth_file import read_depth
from .label_table import ignore_values
from .layout import choose_split, subfolders, wrong_layout
from .pairing import pair_files
from .palette import Image8, Labels, default_palette
from .palette_file import find_palette_file, named_classes

_FOLDERS = ("images", "seg_labels", "depth_labels")
_SUFFIXES = (".npy",)
_LOOKED_AT = 8  # images that decide whether values run to 1 or to 255


class Segformer3d(Dataset):
    """images, seg_labels and (where present) depth_labels / SPLIT / x.npy; label -1 is ignored.

    Float images of 0..1 are multiplied by 255 and rounded: the data set decides, not the image.
    Classes are Cityscapes' 19 unless a palette file, or a model with another number, says
    otherwise. `image_bytes` encodes a PNG, the files hold none.
    """

    def __init__(
        self,
        root: Path,
        split: str | None,
        *,
        name: str = "segformer3d",
        contract: Contract | None = None,
    ) -> None:
        """List the files of `split` and look at the range of some images.

        Raises:
            InputError: another layout, no such split, or a sample that lacks a file.
        """
        self.name, self.root = name, root
        self.pairs = _pairs(root, split)
        self.has_depth = self.pairs[0].depth is not None
        self.unit = _in_unit_range(self.pairs)
        stated = find_palette_file(root)
        self.classes, self.palette, self.ignore_index = named_classes(stated, contract)
        if not stated and len(self.classes) in (0, len(CLASSES)):
            self.classes, self.palette, self.ignore_index = CLASSES, PALETTE, 255
        if len(self.palette) != len(self.classes):
            self.palette = default_palette(len(self.classes))
        self.ignored = stated.ignored if stated else ()
        self.extra_files = (stated.path,) if stated else ()
        range_note = "0 to 1, read as 0 to 255" if self.unit else "0 to 255"
        self.notes = (f"images hold values of {range_note}; label -1 is ignored",)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.pairs)

    def sample(self, index: int) -> Sample:
        """Read the arrays of sample number `index` and check that they fit each other."""
        pair = self.pairs[index]
        image = self._image(pair)
        size_px = (image.shape[0], image.shape[1])
        depth = None
        if pair.depth is not None:
            depth = read_depth(pair.depth)
            refuse_other_size(depth.shape, size_px, "a depth map", pair.depth)
        return Sample(pair.name, pair.image, image, self._labels(pair, size_px), depth)

    def image_bytes(self, index: int) -> bytes:
        """Return the image of sample number `index` encoded as PNG."""
        return png_of(self._image(self.pairs[index]))

    def digest(self) -> str:
        """Return the SHA-256 over relative names and file bytes."""
        files = [file for pair in self.pairs for file in pair.files]
        return digest_files(self.root, (*files, *self.extra_files)).hexdigest()

    def _image(self, pair: FilePair) -> Image8:
        return as_image(open_array(pair.image), str(pair.image), unit=self.unit)

    def _labels(self, pair: FilePair, size_px: tuple[int, int]) -> Labels:
        if pair.mask is None:  # the layout is checked: every sample has labels
            raise InputError(f"Expected labels for {pair.image}, but it has none: add them.")
        labels = as_labels(open_array(pair.mask), self.ignore_index, str(pair.mask))
        labels = ignore_values(labels, self.ignored, self.ignore_index)
        refuse_other_size(labels.shape, size_px, "a mask", pair.mask)
        refuse_out_of_range(labels, len(self.classes), self.ignore_index, pair.mask)
        return labels


def _pairs(root: Path, split: str | None) -> list[FilePair]:
    images, masks, depths = (root / name for name in _FOLDERS)
    if not images.is_dir() or not masks.is_dir():
        layouts = ["images/SPLIT/x.npy, seg_labels/SPLIT/x.npy and maybe depth_labels/SPLIT/x.npy"]
        raise wrong_layout("Segformer3D's arrays", layouts, root)
    splits = [item for item in subfolders(images) if (masks / item).is_dir()]
    chosen = choose_split(split, splits, root)
    pairs = _matched(images / chosen, masks / chosen, "label file")
    if not pairs:
        raise wrong_layout("Segformer3D's arrays", [f"images/{chosen}/x.npy"], images / chosen)
    if not (depths / chosen).is_dir():
        return pairs
    deep = _matched(images / chosen, depths / chosen, "depth file")
    return [replace(pair, depth=item.mask) for pair, item in zip(pairs, deep, strict=True)]


def _matched(images: Path, masks: Path, what: str) -> list[FilePair]:
    return pair_files(images, masks, image_suffixes=_SUFFIXES, mask_suffixes=_SUFFIXES, what=what)


def _in_unit_range(pairs: list[FilePair]) -> bool:
    """Say whether the images hold floats of 0..1, by some of them spread over the data set."""
    step = max(1, len(pairs) // _LOOKED_AT)
    arrays = [open_array(pair.image) for pair in pairs[::step]]
    if all(array.dtype.kind != "f" for array in arrays):
        return False
    return max(float(np.max(array, initial=0)) for array in arrays) <= 1
