"""The palette file beside a data set: classes, colours, which label is never scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from .contract import Contract
from .palette import Palette

BACKGROUND = "background"
FILE_NAMES = ("palette.json", "classes.json")


@dataclass(frozen=True)
class PaletteFile:
    """What a palette.json or classes.json says; `ignore_index` is None where it is silent.

    `ignored` holds every label that is never scored where the file lists several; `ignore_index`
    is then the one that stands for all.
    """

    path: Path
    classes: tuple[str, ...]
    palette: Palette
    ignore_index: int | None
    ignore_unlisted: bool  # else refused, unless `unlisted_label` says what they are
    ignored: tuple[int, ...] = ()
    unlisted_label: int | None = None


def find_palette_file(*folders: Path) -> PaletteFile | None:
    """Read the first palette file of the folders, None where no folder has one."""
    for folder in folders:
        for name in FILE_NAMES:
            if (folder / name).is_file():
                return read_palette_file(folder / name)
    return None


def read_palette_file(path: Path) -> PaletteFile:
    """Read `{"classes": [...], "palette": [[r,g,b], ...], "ignore_index": 255}`.

    "ignore_index" may be a list: [19, 255]. "unlisted": "ignore" makes pixels of other colours
    ignored ones, "unlisted": 0 gives them label 0 (as TAO does); all keys are optional, but
    classes or palette must be there. Other keys are left to whoever wrote them.

    Raises:
        InputError: no JSON, or values of another kind (names the file).
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong(path, f"it is no JSON ({str(error).splitlines()[0]})") from error
    if not isinstance(values, dict) or not (values.get("classes") or values.get("palette")):
        raise _wrong(path, 'it has neither "classes" nor "palette"')
    palette = _palette(path, values.get("palette", []))
    classes = values.get("classes") or [f"class {index}" for index in range(len(palette))]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise _wrong(path, '"classes" is no list of names')
    if palette and len(palette) != len(classes):
        raise _wrong(path, f"it lists {len(classes)} classes and {len(palette)} colours")
    ignore, ignored = _ignored(path, values.get("ignore_index"))
    unlisted = values.get("unlisted", "refuse")
    label = unlisted if type(unlisted) is int and 0 <= unlisted < len(classes) else None
    if label is None and unlisted not in ("refuse", "ignore"):
        raise _wrong(path, f'"unlisted" is {unlisted!r}, neither "refuse" nor "ignore" nor a label')
    ignoring = unlisted == "ignore"
    return PaletteFile(path, tuple(classes), palette, ignore, ignoring, ignored, label)


def named_classes(
    stated: PaletteFile | None, contract: Contract | None
) -> tuple[tuple[str, ...], Palette, int]:
    """Return classes, colours and the ignored label: the file's, else the model's, else none.

    A one-class head predicts its background too, so its data have two classes.
    """
    if stated:
        ignore_index = 255 if stated.ignore_index is None else stated.ignore_index
        return stated.classes, stated.palette, ignore_index
    if contract is None:
        return (), (), 255
    one = contract.threshold is not None and len(contract.classes) == 1
    classes = (BACKGROUND, *contract.classes) if one else contract.classes
    return classes, contract.palette, contract.ignore_index


def one_ignored(values: Sequence[int]) -> int:
    """Return the label that stands for all ignored ones: 255 where it is listed, else the last."""
    return 255 if 255 in values else values[-1]


def _ignored(path: Path, value: Any) -> tuple[int | None, tuple[int, ...]]:
    """Return the ignored label and, where several are listed, all of them."""
    listed = value if isinstance(value, list) and value else [value]
    for item in listed if value is not None else ():
        if not isinstance(item, int) or isinstance(item, bool) or not 0 <= item <= 65535:
            raise _wrong(path, f'"ignore_index" is {value!r}, no label')
    if value is None:
        return None, ()
    return one_ignored(listed), tuple(listed) if len(listed) > 1 else ()


def _palette(path: Path, values: Any) -> Palette:
    """Return the colours, each checked to be three bytes."""
    if not isinstance(values, list):
        raise _wrong(path, '"palette" is no list of colours')
    for colour in values:
        fits = isinstance(colour, list) and len(colour) == 3
        if not fits or not all(isinstance(value, int) and 0 <= value <= 255 for value in colour):
            raise _wrong(path, f"{colour!r} is no colour of three numbers 0 to 255")
    return tuple((colour[0], colour[1], colour[2]) for colour in values)


def _wrong(path: Path, reason: str) -> InputError:
    return InputError(
        f'Expected {{"classes": [...], "palette": [[r, g, b], ...], "ignore_index": 255}} in '
        f"{path}, but {reason}: correct the file."
    )
