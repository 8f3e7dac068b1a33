"""A folder of images and masks, in the layouts people have; no configuration needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..common.errors import InputError
from .contract import Contract
from .dataset import FileDataset
from .label_table import ignore_values, reduce_labels
from .layout import choose_split
from .masks import ColourKey, read_mask
from .pairing import has_images, pair_files
from .palette import Labels, default_palette
from .palette_file import BACKGROUND, PaletteFile, find_palette_file, named_classes

MASK_FOLDERS = ("masks", "labels", "annotations")
_SPLIT_NAMES = ("train", "training", "val", "valid", "validation", "test", "testing")
_BINARY_CLASSES = (BACKGROUND, "foreground")


class FolderDataset(FileDataset):
    """Images and masks as index PNG, palette PNG, 0/255 binary or colour with a palette file.

    Classes, colours and the ignored label come from palette.json or classes.json in the folder,
    else from the contract; masks of 0 and 255 alone are background and foreground.
    """

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        *,
        name: str = "folder",
        contract: Contract | None = None,
    ) -> None:
        """Find the files and decide what their values mean.

        Raises:
            InputError: unknown layout or split, unpaired files, a wrong palette file.
        """
        images, masks = _find_folders(root, split)
        super().__init__(name, root, pair_files(images, masks))
        self.ignored: tuple[int, ...] = ()
        stated = find_palette_file(*((root / split,) if split else ()), root)
        if stated:
            self._follow(stated)
        elif contract:
            self.classes, self.palette, self.ignore_index = named_classes(None, contract)
        self.mapped = bool(contract and contract.label_map)
        self.reduce = bool(contract and contract.reduce_labels)
        self.binary = self._is_binary(stated, contract)
        if self.binary:
            self.classes = self.classes if len(self.classes) == 2 else _BINARY_CLASSES
        if len(self.palette) != len(self.classes):
            self.palette = default_palette(len(self.classes))
        self.notes = tuple(self._notes())

    def map_labels(self, labels: Labels) -> Labels:
        """Return labels for mask values: binary 255 → 1, or ADE20K's shift where it applies."""
        labels = ignore_values(labels, self.ignored, self.ignore_index)
        if self.binary and labels.dtype == np.uint8:
            # other values than 0 and 255 stay what they are, so that the range check finds them
            return np.where(labels == 255, np.uint8(1), labels)
        if self.reduce:
            return reduce_labels(labels, self.ignore_index)
        return labels

    def _follow(self, stated: PaletteFile) -> None:
        self.classes, self.palette, self.ignore_index = named_classes(stated, None)
        self.ignored = stated.ignored
        self.extra_files = (stated.path,)
        if stated.palette:
            self.key = ColourKey(
                stated.palette, self.ignore_index, stated.ignore_unlisted, stated.unlisted_label
            )

    def _is_binary(self, stated: PaletteFile | None, contract: Contract | None) -> bool:
        """Say whether 255 means foreground: at most two classes and no mask with another value.

        A palette file that names 255 as ignored, or three classes, settles it without reading.
        One mask with another value settles it too; only binary data sets are read to the end.
        """
        count = contract.num_classes if contract and not stated else len(self.classes)
        if count > 2 or (stated and stated.ignore_index == 255) or self.reduce:
            return False
        if self.mapped:  # the map says what 255 means
            return False
        has_255 = False
        for file in (pair.mask for pair in self.pairs if pair.mask):
            values = np.flatnonzero(np.bincount(read_mask(file, self.key).ravel()))
            if not set(values.tolist()) <= {0, 255}:
                return False
            has_255 = has_255 or 255 in values
        return has_255

    def _notes(self) -> list[str]:
        notes = []
        if self.binary:
            notes.append(
                f"all {len(self)} masks hold only 0 and 255: read as 0 = {self.classes[0]}, "
                f"255 = {self.classes[1]} (label 1)"
            )
        if self.reduce:
            notes.append("labels are reduced as the model's preprocessor says: 0 is ignored, 1 → 0")
        if not self.classes and not self.mapped:
            notes.append(
                "neither the folder nor the model names classes: no label range is checked"
            )
        return notes


def _find_folders(root: Path, split: str | None) -> tuple[Path, Path]:
    """Return the folders of images and masks, for one of the known layouts."""
    for mask_name in MASK_FOLDERS:
        if split is None:
            layouts = [(root / "images", root / mask_name)]
        else:
            layouts = [
                (root / split / "images", root / split / mask_name),
                (root / "images" / split, root / mask_name / split),
            ]
        for images, masks in layouts:
            if images.is_dir() and masks.is_dir() and not _needs_split(images, split):
                return images, masks
    splits = _splits(root)
    if splits:
        choose_split(split, splits, root)
    raise InputError(
        f"Expected images/ and masks/ (or labels/, annotations/) in {root}, but they are not "
        f"there{f' for split {split!r}' if split else ''}: check the path."
    )


def _needs_split(images: Path, split: str | None) -> bool:
    """Say whether `images` holds only splits and none was named."""
    if split is not None or has_images(images):
        return False
    return any((images / name).is_dir() for name in _SPLIT_NAMES)


def _splits(root: Path) -> list[str]:
    """Return the splits either layout has."""
    below = {item.parent.name for item in root.glob("*/images") if item.is_dir()}
    images = root / "images"
    inside = {item.name for item in images.iterdir() if item.is_dir()} if images.is_dir() else set()
    return sorted(below | inside)
