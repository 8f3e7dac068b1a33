"""The YAML file that describes a data set which none of the formats fits.

root: ../my_set                    # relative to this file; where absent, this file's folder
images: "{split}/rgb/*.jpg"        # a glob below root; {split} is the split's name
labels: "{split}/gt/*.png"         # may be absent where there is depth
depth: "{split}/depth/*.png"       # 16-bit images of depth_unit_m, or .npy of metres
depth_unit_m: 0.001
match: "(\\d+)"                     # what image and label have in common: their stem, or this
encoding: index                    # index, palette, colour or binary
classes: [road, car]
palette: [[128, 64, 128], [0, 0, 142]]
ignore: [19, 255]                  # values that are never scored
unlisted: refuse                   # or ignore: colours that the palette does not list
label_map: {7: 0, 26: 1}           # values of the files to classes; unlisted ones are ignored
reduce_labels: false               # true: 0 is ignored, 1 becomes 0
splits:                            # where folders do not say it: names, or a text file of them
  val: ["0001", "0002"]
  test: lists/test.txt
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.fields import Reader, choice, flag, read_fields, text
from .depth_file import MILLIMETRE
from .label_table import label_table
from .palette import Palette


class Encoding(str, Enum):
    """What the values of a label file are."""

    INDEX = "index"  # grey values are labels
    PALETTE = "palette"  # the index plane of a palette image
    COLOUR = "colour"  # RGB, read with `palette`
    BINARY = "binary"  # 0 is background, every other value foreground


class Unlisted(str, Enum):
    """What happens to colours that the palette does not list."""

    REFUSE = "refuse"
    IGNORE = "ignore"


@dataclass(frozen=True)
class Description:
    """A description, read and checked; `reduce_labels` None means as the model says."""

    path: Path
    images: str
    root: Path
    labels: str | None = None
    depth: str | None = None
    depth_unit_m: float = MILLIMETRE
    match: str | None = None
    encoding: Encoding = Encoding.INDEX
    classes: tuple[str, ...] = ()
    palette: Palette = ()
    ignore: tuple[int, ...] = ()
    unlisted: Unlisted = Unlisted.REFUSE
    label_map: tuple[tuple[int, int], ...] = ()
    reduce_labels: bool | None = None
    splits: tuple[tuple[str, tuple[str, ...] | str], ...] = ()


def read_description(file: Path) -> Description:
    """Read a description and refuse what no data set could follow.

    Raises:
        InputError: no YAML, an unknown key (the nearest known one is named), a value of another
            type, or keys that contradict each other.
    """
    import yaml

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"Expected {file} to be a data set in YAML, but: {reason}.") from error
    fields = read_fields(values, str(file), _READERS, required=("images",))
    root = file.parent / Path(fields.pop("root", ".")).expanduser()
    if not root.is_dir():
        raise InputError(f"{file}, root: expected a folder, but {root} is none: correct the path.")
    described = Description(path=file, root=root, **fields)
    _check(described)
    return described


def _check(described: Description) -> None:
    """Refuse keys that contradict each other."""
    where, palette, classes = described.path, described.palette, described.classes
    if described.labels is None and described.depth is None:
        raise InputError(f"{where}: expected the key 'labels' or 'depth', but both are missing.")
    if described.encoding is Encoding.COLOUR and not palette:
        raise InputError(f"{where}: expected the key 'palette' with encoding colour: add it.")
    mapped = bool(described.label_map) and described.encoding is Encoding.COLOUR
    if palette and classes and len(palette) != len(classes) and not mapped:
        raise InputError(
            f"{where}: expected one colour per class, but got {len(classes)} classes and "
            f"{len(palette)} colours."
        )
    if described.label_map and described.reduce_labels:
        raise InputError(f"{where}: expected label_map or reduce_labels, but got both.")
    both = sorted({old for old, _ in described.label_map} & set(described.ignore))
    if both:
        raise InputError(f"{where}: expected {both[0]} in ignore or in label_map, but got both.")


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(x, str) for x in value):
        raise InputError(f"{where}: expected a list of names, but got {value!r}.")
    return tuple(value)


def _colours(value: Any, where: str) -> Palette:
    colours = value if isinstance(value, list) else []
    for colour in colours or [value]:
        numbers = colour if isinstance(colour, list) and len(colour) == 3 else [-1]
        if not all(type(number) is int and 0 <= number <= 255 for number in numbers):
            raise InputError(f"{where}: expected colours [r, g, b] of 0 to 255, but got {colour}.")
    return tuple((colour[0], colour[1], colour[2]) for colour in colours)


def _labels(value: Any, where: str) -> tuple[int, ...]:
    listed = value if isinstance(value, list) and value else [value]
    if not all(type(label) is int and 0 <= label <= 65535 for label in listed):
        raise InputError(f"{where}: expected a label or a list of labels, but got {value!r}.")
    return tuple(listed)


def _pairs(value: Any, where: str) -> tuple[tuple[int, int], ...]:
    pairs = tuple(value.items()) if isinstance(value, dict) else ()
    if not pairs or not all(type(label) is int for pair in pairs for label in pair):
        raise InputError(f"{where}: expected pairs 'label: class', but got {value!r}.")
    label_table(pairs, 255)
    return pairs


def _unit(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise InputError(f"{where}: expected a positive number of metres, but got {value!r}.")
    return float(value)


def _splits(value: Any, where: str) -> tuple[tuple[str, tuple[str, ...] | str], ...]:
    if not isinstance(value, dict) or not value:
        raise InputError(f"{where}: expected splits with their files, but got {value!r}.")
    splits: list[tuple[str, tuple[str, ...] | str]] = []
    for name, listed in value.items():
        if not isinstance(listed, list):
            splits.append((str(name), text(listed, f"{where}, {name}")))
            continue
        if not listed or not all(isinstance(item, str) for item in listed):
            raise InputError(
                f"{where}, {name}: expected names in quotes (0001 is a number to YAML), but got "
                f"{listed[:3]!r}."
            )
        splits.append((str(name), tuple(listed)))
    return tuple(splits)


_READERS: dict[str, Reader] = {
    "root": text,
    "images": text,
    "labels": text,
    "depth": text,
    "depth_unit_m": _unit,
    "match": text,
    "encoding": choice(Encoding),
    "classes": _names,
    "palette": _colours,
    "ignore": _labels,
    "unlisted": choice(Unlisted),
    "label_map": _pairs,
    "reduce_labels": flag,
    "splits": _splits,
}
