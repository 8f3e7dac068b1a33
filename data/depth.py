"""Images with depth, and labels where there are some: NYUv2-like folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .contract import Contract
from .dataset import FileDataset, FilePair
from .depth_file import DEPTH_SUFFIXES
from .folder import MASK_FOLDERS
from .label_table import ignore_values
from .layout import choose_split, subfolders, wrong_layout
from .pairing import has_images, pair_files
from .palette import Labels, default_palette
from .palette_file import find_palette_file, named_classes

IMAGE_FOLDERS = ("images", "rgb", "image")
DEPTH_FOLDERS = ("depth", "depths", "depth_labels")


class DepthDataset(FileDataset):
    """16-bit depth images in millimetres, read as metres, or .npy floats as they are.

    Below the folder or below a split in it: images/ (or rgb/), depth/, and masks/ (or labels/)
    where there are labels; or images/SPLIT, depth/SPLIT. Without labels all pixels are ignored.
    """

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        *,
        name: str = "depth",
        contract: Contract | None = None,
    ) -> None:
        """List the files.

        Raises:
            InputError: another layout, no such split, or an image without depth (or, where there
                are labels, without labels).
        """
        super().__init__(name, root, _pairs(root, split))
        stated = find_palette_file(root)
        self.ignored = stated.ignored if stated else ()
        self.extra_files = (stated.path,) if stated else ()
        units = "16-bit depth is read as millimetres; depth is 0 where it is not known"
        self.notes = (units,) if self.has_labels else (units, "there are no labels")
        if self.has_labels:
            self.classes, self.palette, self.ignore_index = named_classes(stated, contract)
            if len(self.palette) != len(self.classes):
                self.palette = default_palette(len(self.classes))

    def map_labels(self, labels: Labels) -> Labels:
        """Return the labels with every ignored one as `ignore_index`."""
        return ignore_values(labels, self.ignored, self.ignore_index)


def _pairs(root: Path, split: str | None) -> list[FilePair]:
    images, depths, masks = _find(root, split)
    pairs = pair_files(images, depths, mask_suffixes=DEPTH_SUFFIXES, what="depth map")
    pairs = [FilePair(pair.name, pair.image, None, pair.mask) for pair in pairs]
    if masks is None:
        return pairs
    labelled = pair_files(images, masks)
    return [replace(pair, mask=item.mask) for pair, item in zip(pairs, labelled, strict=True)]


def _find(root: Path, split: str | None) -> tuple[Path, Path, Path | None]:
    """Return the folders of images, depth and (where there is one) labels."""
    layouts = _layouts(root)
    if split is None and "" in layouts:
        return layouts[""]
    splits = sorted(name for name in layouts if name)
    if splits:
        return layouts[choose_split(split, splits, root)]
    raise wrong_layout(
        "images with depth",
        ["[SPLIT/]images/ with [SPLIT/]depth/", "images/SPLIT with depth/SPLIT"],
        root,
    )


def _layouts(root: Path) -> dict[str, tuple[Path, Path, Path | None]]:
    """Return the three folders of every split there is; "" is the root without splits."""
    found = {}
    for below in ("", *subfolders(root)):
        images, depths = (_first(root / below, kind) for kind in (IMAGE_FOLDERS, DEPTH_FOLDERS))
        if images is None or depths is None:
            continue
        masks = _first(root / below, MASK_FOLDERS)
        if below or has_images(images):
            found[below] = images, depths, masks
            continue
        for split in subfolders(images):
            if (depths / split).is_dir():
                labels = masks / split if masks and (masks / split).is_dir() else None
                found[split] = images / split, depths / split, labels
    return found


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)
