"""`preprocessor_config.json` read directly into the preprocessing part of a contract.

transformers 5 drops the older key `reduce_labels` without a word; reading the JSON keeps it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...common.errors import InputError
from ...data.contract import IMAGENET_MEAN, IMAGENET_STD, Resample, ResizeRule
from .hf_config import Json, read_json

_FILE = "preprocessor_config.json"
_DEFAULT_SIDE_PX = 512
_RESCALE = 1 / 255

# Pillow's numbers for its filters
_RESAMPLE = {0: Resample.NEAREST, 2: Resample.BILINEAR, 3: Resample.BICUBIC}


def read_preprocessing(folder: Path) -> tuple[Json, tuple[str, ...]]:
    """Return the contract fields the preprocessor sets, and notes on what it did not say.

    Raises:
        InputError: a size, filter, mean or std that no contract can hold.
    """
    path = folder / _FILE
    if not path.is_file():
        return {}, (
            f"no {_FILE}: assuming {_DEFAULT_SIDE_PX}x{_DEFAULT_SIDE_PX} input, bilinear, "
            "ImageNet mean and std (the defaults of transformers)",
        )
    values = read_json(path)
    size_px, notes = _size(values.get("size"))
    fields: Json = {
        "size_px": size_px,
        "resample": _resample(values),
        "scale": _scale(values),
        "reduce_labels": _reduces_labels(values),
    }
    if not values.get("do_resize", True):
        fields["resize"] = ResizeRule.NONE
        notes += ("do_resize is false: images keep their size",)
    fields["mean"], fields["std"] = _normalisation(values)
    return fields, notes + _notes(values)


def write_fields(
    size_px: tuple[int, int],
    resize: ResizeRule,
    resample: Resample,
    reduce_labels: bool,
) -> Json:
    """Return the entries of `preprocessor_config.json` that describe resizing and labels."""
    number = next(key for key, value in _RESAMPLE.items() if value is resample)
    return {
        "do_resize": resize is ResizeRule.STRETCH,
        "do_reduce_labels": reduce_labels,
        "resample": number,
        "size": {"height": size_px[0], "width": size_px[1]},
    }


def _size(size: Any) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Read a number, [height, width], {height, width} or {shortest_edge}."""
    if size is None:
        return (_DEFAULT_SIDE_PX, _DEFAULT_SIDE_PX), (f"{_FILE} has no size: assuming 512x512",)
    notes: tuple[str, ...] = ()
    pair = size
    if isinstance(size, dict) and "shortest_edge" in size:
        side = size["shortest_edge"]
        pair = [side, side]
        notes = (
            f"{_FILE} keeps the aspect ratio (shortest edge {side}); segship stretches images to "
            f"{side}x{side}: choose the size you deploy with --size",
        )
    elif isinstance(size, dict):
        pair = [size.get("height"), size.get("width")]
    elif isinstance(size, int):
        pair = [size, size]
    valid = isinstance(pair, list) and len(pair) == 2
    if not valid or not all(type(side) is int and side > 0 for side in pair):
        raise InputError(
            f"Expected size as a number or height and width in {_FILE}, but got {size}: correct it."
        )
    return (pair[0], pair[1]), notes


def _resample(values: Json) -> Resample:
    number = values.get("resample", 2)
    if type(number) is not int or number not in _RESAMPLE:
        raise InputError(
            f"Expected resample 0 (nearest), 2 (bilinear) or 3 (bicubic) in {_FILE}, "
            f"but got {number!r}."
        )
    return _RESAMPLE[number]


def _scale(values: Json) -> float:
    if not values.get("do_rescale", True):
        return 1.0
    factor = values.get("rescale_factor", _RESCALE)
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or factor <= 0:
        raise InputError(f"Expected a positive rescale_factor in {_FILE}, but got {factor!r}.")
    return float(factor)


def _reduces_labels(values: Json) -> bool:
    """Read the key of either age; where both are there, the newer one decides."""
    return bool(values.get("do_reduce_labels", values.get("reduce_labels", False)))


def _normalisation(values: Json) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not values.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean = _three(values, "image_mean", IMAGENET_MEAN)
    return mean, _three(values, "image_std", IMAGENET_STD)


def _three(values: Json, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
    given = values.get(key, list(default))
    given = [given] * 3 if isinstance(given, (int, float)) else given
    if not isinstance(given, list) or len(given) != 3 or not all(_is_number(x) for x in given):
        raise InputError(f"Expected three numbers as {key} in {_FILE}, but got {given}.")
    return tuple(float(item) for item in given)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _notes(values: Json) -> tuple[str, ...]:
    kind = values.get("image_processor_type") or values.get("feature_extractor_type") or ""
    notes: list[str] = []
    if kind and not str(kind).startswith("Segformer"):
        notes.append(f"the preprocessor is a {kind}; only its size, scale, mean and std were read")
    notes += [
        f"{_FILE} asks for {key}, which segship does not do"
        for key in ("do_center_crop", "do_pad")
        if values.get(key)
    ]
    if _reduces_labels(values):
        notes.append("labels are reduced: raw label 0 is ignored, the others count from 0")
    return tuple(notes)
