"""What a training file says beside its tensors: classes, colours, crop size, normalisation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...data.contract import ChannelOrder
from .label_sets import LABEL_SETS
from .palettes import Palette, palette_for

_INT = r"\s*(\d{1,5})\s*"
_FLOAT = r"\s*(-?\d+(?:\.\d*)?)\s*"
_CROP = re.compile(rf"\bcrop_size['\"]?\s*[=:]\s*[(\[]{_INT},{_INT}[)\]]")
_MEAN = re.compile(rf"\bmean['\"]?\s*[=:]\s*[(\[]{_FLOAT},{_FLOAT},{_FLOAT},?\s*[)\]]")
_STD = re.compile(rf"\bstd['\"]?\s*[=:]\s*[(\[]{_FLOAT},{_FLOAT},{_FLOAT},?\s*[)\]]")
_REDUCE = re.compile(r"\breduce_zero_label['\"]?\s*[=:]\s*True\b")
_BGR = re.compile(r"\b(?:to_rgb|bgr_to_rgb)['\"]?\s*[=:]\s*False\b")
_SLIDE = re.compile(r"\bmode['\"]?\s*[=:]\s*['\"]slide['\"]")
_PIXEL = 255.0  # configs of mmsegmentation state mean and std of pixels in 0..255

Notes = tuple[str, ...]


def class_names(meta: Mapping[str, Any], classes: int) -> tuple[tuple[str, ...], Notes]:
    """Return a name per class, and a note on names that are not the file's own.

    Taken from mmcv's `CLASSES`, mmengine's `dataset_meta`, or `id2label` among Lightning's
    hyper-parameters; else from the well-known label set of that many classes.
    """
    stated = _stated_names(meta)
    if stated is not None and len(stated) == classes:
        return stated, ()
    notes: Notes = ()
    if stated is not None:
        notes = (f"the file names {len(stated)} classes for {classes} outputs: not used",)
    if classes in LABEL_SETS:
        name, names = LABEL_SETS[classes]
        hint = " (with raw labels from 0: --set reduce_labels=true)" if name == "ADE20K" else ""
        note = f"no class names in the file: {classes} classes are named as {name}'s{hint}"
        return names, (*notes, f"{note}; others: --set classes=a,b,…")
    names = ("foreground",) if classes == 1 else tuple(f"class_{i}" for i in range(classes))
    return names, (*notes, "no class names in the file: named by index; --set classes=a,b,…")


def palette(meta: Mapping[str, Any], names: tuple[str, ...]) -> Palette:
    """Return the file's own colours (mmcv, mmengine), else those of `palette_for`."""
    stored = _block(meta).get("PALETTE") or _dataset(meta).get("palette")
    if not isinstance(stored, (list, tuple)) or len(stored) != len(names):
        return palette_for(names)
    if not all(map(_is_colour, stored)):
        return palette_for(names)
    return tuple((red, green, blue) for red, green, blue in stored)


def config_fields(meta: Mapping[str, Any]) -> tuple[dict[str, Any], Notes]:
    """Return the contract fields the config text of mmcv or mmengine states, and notes.

    `crop_size` (height, width), `reduce_zero_label`, and mean, std and channel order of the
    normalisation.
    """
    block = _block(meta)
    text = next((t for t in (block.get("config"), block.get("cfg")) if isinstance(t, str)), "")
    fields: dict[str, Any] = {}
    if (crop := _CROP.search(text)) and int(crop[1]) and int(crop[2]):
        fields["size_px"] = (int(crop[1]), int(crop[2]))
    if _REDUCE.search(text):
        fields["reduce_labels"] = True
    mean, std = _triple(_MEAN, text), _triple(_STD, text)
    if mean and std and min(std) > 0:
        scale = _PIXEL if max(std) > 1 else 1.0
        fields["mean"] = tuple(value / scale for value in mean)
        fields["std"] = tuple(value / scale for value in std)
    if _BGR.search(text):
        fields["channel_order"] = ChannelOrder.BGR
    notes: Notes = (f"from the config in the file: {', '.join(fields)}",) if fields else ()
    if _SLIDE.search(text):
        notes += ("its config tests with sliding windows: whole images give other numbers",)
    return fields, notes


def _triple(pattern: re.Pattern[str], text: str) -> tuple[float, ...] | None:
    found = pattern.search(text)
    return tuple(map(float, found.groups())) if found else None


def _block(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    block = meta.get("meta")
    return block if isinstance(block, Mapping) else {}


def _dataset(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    block = _block(meta).get("dataset_meta")
    return block if isinstance(block, Mapping) else {}


def _stated_names(meta: Mapping[str, Any]) -> tuple[str, ...] | None:
    for stored in (_block(meta).get("CLASSES"), _dataset(meta).get("classes"), _id2label(meta)):
        texts = isinstance(stored, (list, tuple)) and all(isinstance(x, str) for x in stored)
        if stored and texts:
            return tuple(stored)
    return None


def _id2label(meta: Mapping[str, Any]) -> list[str] | None:
    block = meta.get("hyper_parameters")
    table = block.get("id2label") if isinstance(block, Mapping) else None
    if not isinstance(table, Mapping):
        return None
    try:
        ordered = sorted((int(key), str(name)) for key, name in table.items())
    except (TypeError, ValueError):
        return None
    return [name for _, name in ordered]


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(type(part) is int and 0 <= part <= 255 for part in value)
    )
