"""BDD100K drivable area: current masks, ids of the old release, colour maps; one order of classes.

The same values mean different things in the two releases, so the folder's name decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .dataset import FileDataset
from .label_table import identity_table
from .layout import choose_split, subfolders, wrong_layout
from .masks import ColourKey
from .pairing import pair_by_ending
from .palette import Labels, Palette

BDD_CLASSES = ("direct", "alternative", "background")
BDD_PALETTE: Palette = ((219, 94, 86), (86, 211, 219), (0, 0, 0))
# colours of the old release, from memory of its tools; unlisted colours are refused anyway
_OLD_COLOURS: Palette = ((217, 83, 79), (91, 192, 222))
_IMAGES = ("images/100k", "images")


@dataclass(frozen=True)
class Scheme:
    """Where masks of one kind lie, what their names end in, what their values mean."""

    folders: tuple[tuple[str, str], ...]  # folder below the root, ending of its masks' names
    table: Labels | None
    note: str
    key: ColourKey | None = None


_PLAIN = (("labels", ".png"), ("masks", ".png"))  # for a scheme that was named
SCHEMES = {
    "masks": Scheme(
        (("labels/drivable/masks", ".png"),),
        None,
        "current masks: 0 direct, 1 alternative, 2 background",
    ),
    "ids": Scheme(
        (("drivable_maps/labels", "_drivable_id.png"),),
        identity_table([(0, 2), (1, 0), (2, 1)]),
        "old release: 0 background, 1 direct, 2 alternative, mapped to the current order",
    ),
    "colour": Scheme(
        (
            ("labels/drivable/colormaps", ".png"),
            ("drivable_maps/color_labels", "_drivable_color.png"),
        ),
        identity_table([(3, 0), (4, 1)]),
        "colour maps: the colours of direct, alternative and background",
        ColourKey((*BDD_PALETTE, *_OLD_COLOURS)),
    ),
}


class BddDrivable(FileDataset):
    """One split; `scheme` "masks", "ids" or "colour" says what the values mean, None: the folder.

    Background is a class and is scored.
    """

    def __init__(
        self, root: Path, split: str | None, *, name: str = "bdd100k", scheme: str | None = None
    ) -> None:
        """List the files of `split`.

        Raises:
            InputError: folders of no known release (asks for a scheme), no such split, or an
                image without its mask.
        """
        chosen, folder, ending = _find(root, scheme)
        images = _images(root)
        splits = [item for item in subfolders(images) if (folder / item).is_dir()]
        split = choose_split(split, splits, root)
        super().__init__(name, root, pair_by_ending(images / split, folder / split, ending))
        self.classes, self.palette = BDD_CLASSES, BDD_PALETTE
        self.key, self.table = chosen.key, chosen.table
        self.notes = (chosen.note,)


def _find(root: Path, scheme: str | None) -> tuple[Scheme, Path, str]:
    """Return the scheme with the folder of its masks and the ending of their names."""
    for name, candidate in SCHEMES.items():
        folders = candidate.folders if scheme is None else (*candidate.folders, *_PLAIN)
        for folder, ending in folders if scheme in (None, name) else ():
            if subfolders(root / folder):
                return candidate, root / folder, ending
    layouts = [
        f"images/100k/SPLIT with {folder}/SPLIT/*{ending}"
        for folder, ending in _known_folders(scheme)
    ]
    hint = (
        "give the folder that holds images/"
        if scheme
        else ("say what the values mean with bdd100k-masks:, bdd100k-ids: or bdd100k-colour:")
    )
    raise wrong_layout("BDD100K drivable area", layouts, root, hint)


def _known_folders(scheme: str | None) -> Sequence[tuple[str, str]]:
    if scheme is not None:
        return (*SCHEMES[scheme].folders, *_PLAIN)
    return [item for candidate in SCHEMES.values() for item in candidate.folders]


def _images(root: Path) -> Path:
    for name in _IMAGES:
        if subfolders(root / name):
            return root / name
    raise wrong_layout("BDD100K drivable area", ["images/100k/SPLIT/*.jpg"], root)
