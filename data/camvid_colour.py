"""CamVid with colour labels: {split}/x.png beside {split}_labels/x_L.png, 11 or 32 classes."""

from __future__ import annotations

import csv
from pathlib import Path

from ..common.errors import InputError
from .camvid import CAMVID_CLASSES
from .contract import Contract
from .dataset import FileDataset
from .label_table import identity_table
from .layout import choose_split, subfolders, wrong_layout
from .masks import ColourKey
from .pairing import pair_by_ending
from .palette import Palette

CLASS_FILE = "class_dict.csv"
_PALETTE: Palette = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (0, 0, 192),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
)
_SEGNET_PAVEMENT = (60, 40, 222)  # SegNet's own colour for class 4
_VOID = ("void", "unlabelled", "unlabeled")


class CamVidColour(FileDataset):
    """One split; unlisted colours are ignored.

    A class_dict.csv (name,r,g,b) beside the splits gives its classes, unless the model has the 11
    usual ones; its void class is ignored where the model has one class less than the file.
    """

    def __init__(
        self,
        root: Path,
        split: str | None,
        *,
        name: str = "camvid-colour",
        contract: Contract | None = None,
    ) -> None:
        """List the files of `split`.

        Raises:
            InputError: another layout, no such split, an image without labels, or a wrong
                class_dict.csv.
        """
        splits = [item for item in subfolders(root) if (root / f"{item}_labels").is_dir()]
        if not splits:
            layouts = ["SPLIT/x.png with SPLIT_labels/x_L.png"]
            raise wrong_layout("CamVid in colour", layouts, root, "camvid: reads index masks")
        chosen = choose_split(split, splits, root)
        super().__init__(
            name, root, pair_by_ending(root / chosen, root / f"{chosen}_labels", "_L.png")
        )
        wanted = contract.num_classes if contract else 0
        if (root / CLASS_FILE).is_file() and wanted != len(CAMVID_CLASSES):
            self._follow(root / CLASS_FILE, wanted)
        else:
            self.classes, self.palette = CAMVID_CLASSES, _PALETTE
            self.key = ColourKey((*_PALETTE, _SEGNET_PAVEMENT), 255, ignore_unlisted=True)
            self.table = identity_table([(len(_PALETTE), CAMVID_CLASSES.index("pavement"))])
            self.notes = ("11 classes by their colours, all other colours are ignored",)

    def _follow(self, file: Path, wanted: int) -> None:
        """Take the classes of class_dict.csv, without its void class where the model has none."""
        listed = _read_classes(file)
        without = [item for item in listed if item[0].casefold() not in _VOID]
        if wanted and wanted == len(without) < len(listed):
            listed = without
        self.classes = tuple(name for name, _ in listed)
        self.palette = tuple(colour for _, colour in listed)
        self.key = ColourKey(self.palette, self.ignore_index, ignore_unlisted=True)
        self.extra_files = (file,)
        void = [name for name in self.classes if name.casefold() in _VOID]
        scored = f", {void[0]} is a class and is scored" if void else ""
        self.notes = (f"{len(listed)} classes of {file.name}{scored}; other colours are ignored",)


def _read_classes(file: Path) -> list[tuple[str, tuple[int, int, int]]]:
    """Return names and colours of a class_dict.csv."""
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream, skipinitialspace=True))
        listed = [(row["name"].strip(), tuple(int(row[item]) for item in "rgb")) for row in rows]
    except (OSError, KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise _wrong(file, type(error).__name__) from error
    if not listed or any(not 0 <= value <= 255 for _, colour in listed for value in colour):
        raise _wrong(file, "a colour is outside 0 to 255" if listed else "no class")
    return [(name, (colour[0], colour[1], colour[2])) for name, colour in listed]


def _wrong(file: Path, reason: str) -> InputError:
    return InputError(
        f"Expected the columns name, r, g, b with one class per line in {file}, but got {reason}: "
        "correct the file."
    )
