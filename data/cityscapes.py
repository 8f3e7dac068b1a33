"""Cityscapes: the official tree, the flat course layout, the 8 categories."""

from __future__ import annotations

from pathlib import Path

from ..common.errors import InputError
from . import cityscapes_labels as labels
from .csv_list import read_pairs
from .dataset import FileDataset, FilePair
from .label_table import identity_table
from .layout import choose_split, subfolders, wrong_layout
from .pairing import has_images, pair_by_ending, pair_files

_COURSE_IGNORED = 19
_TREE = "leftImg8bit/SPLIT/CITY/*_leftImg8bit.png with gtFine/SPLIT/CITY/*_gtFine_{}.png"
_FLAT = "leftImg8bit/SPLIT/*.png with gtFine/SPLIT/*.png of the same names"


class Cityscapes(FileDataset):
    """One split of the official tree in the 19 training classes.

    `labelTrainIds` files are read where every image has one, else `labelIds`, mapped on the fly.
    """

    def __init__(self, root: Path, split: str | None, *, name: str = "cityscapes") -> None:
        """List the files of `split`.

        Raises:
            InputError: another layout, no such split, or an image without labels.
        """
        images, masks = _folders(root, split, flat=False)
        trained = any(masks.rglob("*_gtFine_labelTrainIds.png"))
        pairs = _tree_pairs(images, masks, "labelTrainIds" if trained else "labelIds")
        super().__init__(name, root, pairs)
        self.classes, self.palette = labels.CLASSES, labels.PALETTE
        self.table = None if trained else labels.train_ids()
        if not trained:
            self.notes = ("labelIds are mapped to the 19 training classes, others are ignored",)


class CityscapesCourse(FileDataset):
    """One split of the flat layout of the course: training classes, 19 and 255 both ignored."""

    def __init__(self, root: Path, split: str | None, *, name: str = "cityscapes-course") -> None:
        """List the files of `split`.

        Raises:
            InputError: another layout, no such split, or an image without labels.
        """
        images, masks = _folders(root, split, flat=True)
        super().__init__(name, root, pair_files(images, masks))
        self.classes, self.palette = labels.CLASSES, labels.PALETTE
        self.table = identity_table([(_COURSE_IGNORED, self.ignore_index)])
        self.notes = ("labels 19 and 255 are ignored",)


class CityscapesCategories(FileDataset):
    """The 8 categories of the ids, void scored as class 0; from the official tree or a CSV file.

    The CSV file has the columns image_path and labelID_path, the paths as `find_listed` takes
    them.
    """

    def __init__(self, path: Path, split: str | None, *, name: str = "cityscapes-8") -> None:
        """List the files of `split`, or of the CSV file.

        Raises:
            InputError: another layout or column, no such split, or a file that is missing.
        """
        if path.is_file():
            if split is not None:
                raise InputError(
                    f"Expected no split for a CSV file, which is one, but got {split!r}: leave "
                    f"out '@{split}'."
                )
            pairs = read_pairs(path, "image_path", "labelID_path")
            root = path.parent
        else:
            images, masks = _folders(path, split, flat=False)
            pairs, root = _tree_pairs(images, masks, "labelIds"), path
        super().__init__(name, root, pairs)
        self.classes, self.palette = labels.CATEGORIES, labels.CATEGORY_PALETTE
        self.table = labels.categories()
        self.extra_files = (path,) if path.is_file() else ()
        self.notes = ("labelIds are mapped to 8 categories; void is class 0 and is scored",)


def _folders(root: Path, split: str | None, *, flat: bool) -> tuple[Path, Path]:
    """Return the folders of images and labels, telling the tree from the flat layout."""
    layouts = [_FLAT if flat else _TREE.format("{labelTrainIds,labelIds}")]
    images, masks = root / "leftImg8bit", root / "gtFine"
    if not images.is_dir() or not masks.is_dir():
        raise wrong_layout("Cityscapes", layouts, root)
    splits = [item for item in subfolders(images) if (masks / item).is_dir()]
    chosen = choose_split(split, splits, root)
    if has_images(images / chosen) != flat:
        other = "cityscapes" if flat else "cityscapes-course"
        hint = f"this is the other layout, try {other}:{root}@{chosen}"
        raise wrong_layout("Cityscapes", layouts, root, hint)
    return images / chosen, masks / chosen


def _tree_pairs(images: Path, masks: Path, kind: str) -> list[FilePair]:
    return pair_by_ending(images, masks, f"_gtFine_{kind}.png", image_ending="_leftImg8bit")
