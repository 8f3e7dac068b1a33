"""Colours of well-known class lists; every other list gets segship's default palette."""

from __future__ import annotations

from ...data.palette import default_palette

Palette = tuple[tuple[int, int, int], ...]

# The colours the Cityscapes benchmark assigns to its 19 evaluated classes.
_CITYSCAPES: dict[str, tuple[int, int, int]] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}


CITYSCAPES_NAMES = tuple(_CITYSCAPES)


def palette_for(classes: tuple[str, ...]) -> Palette:
    """Return one RGB colour per class: the known ones for Cityscapes' list, else the default.

    >>> palette_for(tuple(_CITYSCAPES))[0]
    (128, 64, 128)
    """
    names = tuple(name.lower().replace("_", " ") for name in classes)
    if names == tuple(_CITYSCAPES):
        return tuple(_CITYSCAPES.values())
    return tuple(default_palette(len(classes)))
