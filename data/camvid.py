"""CamVid in the SegNet layout: {split}/x.png beside {split}annot/x.png, label 11 ignored."""

from __future__ import annotations

from pathlib import Path

from .dataset import FileDataset
from .layout import choose_split
from .pairing import pair_files
from .palette import default_palette
from .palette_file import find_palette_file

CAMVID_CLASSES = (
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
        self.classes = stated.classes if stated else CAMVID_CLASSES
        self.palette = (stated.palette if stated else ()) or default_palette(len(self.classes))
        ignore = stated.ignore_index if stated else None
        self.ignore_index = _IGNORE_INDEX if ignore is None else ignore
        self.extra_files = (stated.path,) if stated else ()


def _splits(root: Path) -> list[str]:
    """Return the names x for which x/ and xannot/ exist."""
    return sorted(
        item.name
        for item in root.iterdir()
        if item.is_dir() and (root / f"{item.name}annot").is_dir()
    )
