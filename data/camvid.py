"""CamVid in the SegNet layout: {split}/x.png beside {split}annot/x.png, label 11 ignored."""

from __future__ import annotations

from pathlib import Path

from ..common.errors import InputError
from .dataset import FileDataset
from .pairing import pair_files
from .palette import default_palette
from .palette_file import find_palette_file

_CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
_IGNORE_INDEX = 11


class CamVid(FileDataset):
    """One split of CamVid; a classes.json beside the splits may rename and colour the classes."""

    def __init__(self, root: Path, split: str | None, *, name: str = "camvid") -> None:
        """List the files of `split`.

        Raises:
            InputError: no such split (says which exist), or an image without its labels.
        """
        chosen = choose_split(split, _splits(root), root)
        super().__init__(name, root, pair_files(root / chosen, root / f"{chosen}annot"))
        stated = find_palette_file(root)
        self.classes = stated.classes if stated else _CLASSES
        self.palette = (stated.palette if stated else ()) or default_palette(len(self.classes))
        ignore = stated.ignore_index if stated else None
        self.ignore_index = _IGNORE_INDEX if ignore is None else ignore
        self.extra_files = (stated.path,) if stated else ()


def choose_split(split: str | None, splits: list[str], root: Path) -> str:
    """Return `split` where it exists, else raise with the list of those that do."""
    if split in splits and split is not None:
        return split
    listed = ", ".join(splits) or "none (is this the format's layout?)"
    came = f"there is no split {split!r}" if split else "no split is named"
    raise InputError(f"Expected a split of {root} after '@', but {came}: it has {listed}.")


def _splits(root: Path) -> list[str]:
    """Return the names x for which x/ and xannot/ exist."""
    return sorted(
        item.name
        for item in root.iterdir()
        if item.is_dir() and (root / f"{item.name}annot").is_dir()
    )
