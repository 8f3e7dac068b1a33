"""The label spaces of Cityscapes: 34 ids, 19 training classes, 8 categories, official colours."""

from __future__ import annotations

from .label_table import identity_table
from .palette import Labels, Palette

IGNORED = 255  # also what the id -1 (licence plate) is in an 8-bit PNG
_IDS = range(34)
_SCORED_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"),
    *("motorcycle", "bicycle"),
)
PALETTE: Palette = (
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (102, 102, 156),
    (190, 153, 153),
    (153, 153, 153),
    (250, 170, 30),
    (220, 220, 0),
    (107, 142, 35),
    (152, 251, 152),
    (70, 130, 180),
    (220, 20, 60),
    (255, 0, 0),
    (0, 0, 142),
    (0, 0, 70),
    (0, 60, 100),
    (0, 80, 100),
    (0, 0, 230),
    (119, 11, 32),
)
CATEGORIES = ("void", "flat", "construction", "object", "nature", "sky", "human", "vehicle")
CATEGORY_PALETTE: Palette = (
    (0, 0, 0),
    (128, 64, 128),
    (70, 70, 70),
    (153, 153, 153),
    (107, 142, 35),
    (70, 130, 180),
    (220, 20, 60),
    (0, 0, 142),
)
_CATEGORY_STARTS = (0, 7, 11, 17, 21, 23, 24, 26)  # the first id of each category


def train_ids() -> Labels:
    """Return the table from ids to the 19 training classes; other ids are ignored.

    Values that are no ids (34 to 254) stay, so that they are refused.
    """
    listed = {old: new for new, old in enumerate(_SCORED_IDS)}
    return identity_table((value, listed.get(value, IGNORED)) for value in _IDS)


def categories() -> Labels:
    """Return the table from ids to the 8 categories; void is a class and takes the id -1."""
    pairs = [(value, sum(value >= start for start in _CATEGORY_STARTS) - 1) for value in _IDS]
    return identity_table([*pairs, (IGNORED, 0)])
