"""The keys of a sidecar and of `--set`, and how their values are written."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from math import isfinite
from typing import Any

from ...common.errors import InputError
from ...common.sizes import parse_size
from ...data.contract import ChannelOrder, InputKind, OutputKind, Resample, ResizeRule
from ..spec import STAGES


class Target(Enum):
    """What a key changes."""

    CHOICE = "choice"
    SPEC = "spec"
    CONTRACT = "contract"


Parse = Callable[[Any], Any]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def _number(value: Any) -> float:
    """Read 0.5, "0.5" or a fraction such as "1/255"."""
    try:
        top, slash, bottom = str(value).partition("/")
        number = float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError("a number") from error
    if isinstance(value, bool) or not isfinite(number):
        raise ValueError("a number")
    return number


def _positive(value: Any) -> float:
    number = _number(value)
    if number <= 0:
        raise ValueError("a positive number")
    return number


def _whole(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError("a whole number")
    return int(number)


def _share(value: Any) -> float:
    number = _number(value)
    if not 0 < number < 1:
        raise ValueError("a number between 0 and 1")
    return number


def _yes(value: Any) -> bool:
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    found = value if isinstance(value, bool) else words.get(str(value).lower())
    if found is None:
        raise ValueError("true or false")
    return found


def _items(value: Any) -> list[Any]:
    """Return a YAML list, or the parts of a text between commas."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)


def _numbers(count: int, parse: Parse = _number, repeat: bool = False) -> Parse:
    def read(value: Any) -> tuple[Any, ...]:
        items = [value] if isinstance(value, (int, float)) else _items(value)
        if repeat and len(items) == 1:
            items *= count
        if len(items) != count:
            raise ValueError(f"{count} numbers")
        return tuple(map(parse, items))

    return read


def _names(value: Any) -> tuple[str, ...]:
    names = tuple(str(item) for item in _items(value))
    if not all(names):
        raise ValueError("names")
    return names


def _size(value: Any) -> tuple[int, int]:
    if isinstance(value, (list, tuple)):
        height, width = map(_whole, value)
        return height, width
    return parse_size(str(value))


def _colours(value: Any) -> tuple[tuple[int, int, int], ...]:
    if isinstance(value, str) or not all(len(colour) == 3 for colour in value):
        raise ValueError("a list of [red, green, blue]")
    colours = tuple((int(red), int(green), int(blue)) for red, green, blue in value)
    if not all(0 <= part <= 255 for colour in colours for part in colour):
        raise ValueError("colours of 0 to 255")
    return colours


def _label_pairs(value: Any) -> tuple[tuple[int, int], ...]:
    """Read {7: 0, 8: 1} or "7:0,8:1": label in the data, label of the model."""
    try:
        pairs = value.items() if isinstance(value, dict) else [i.split(":") for i in _items(value)]
        return tuple((_whole(data), _whole(model)) for data, model in pairs)
    except (ValueError, TypeError) as error:
        raise ValueError("pairs DATA:MODEL of labels") from error


def _one_of(kind: type[Enum]) -> Parse:
    def read(value: Any) -> Enum:
        try:
            return kind(value)
        except ValueError as error:
            raise ValueError(f"one of {', '.join(item.value for item in kind)}") from error

    return read


def _stride(value: Any) -> int:
    stride = _whole(value)
    if stride not in (1, 4):
        raise ValueError("1 (full size) or 4 (a quarter)")
    return stride


_STAGES = _numbers(STAGES, _whole)
_THREE = _numbers(3, repeat=True)

# key: what it changes, the field there, how its value is read
KEYS: dict[str, tuple[Target, str, Parse]] = {
    **{key: (Target.CHOICE, key, _text) for key in ("flavour", "prefix", "preset")},
    **{
        key: (Target.SPEC, key, _positive)
        for key in ("eps", "eps.patch", "eps.sr", "eps.block", "eps.stage")
    },
    "attention_heads": (Target.SPEC, "attention_heads", _STAGES),
    "strides": (Target.SPEC, "strides", _STAGES),
    "branch_align_corners": (Target.SPEC, "branch_align_corners", _yes),
    "output_stride": (Target.SPEC, "output_stride", _stride),
    "align_corners": (Target.CONTRACT, "align_corners", _yes),
    "size": (Target.CONTRACT, "size_px", _size),
    "resize": (Target.CONTRACT, "resize", _one_of(ResizeRule)),
    "resample": (Target.CONTRACT, "resample", _one_of(Resample)),
    "channel_order": (Target.CONTRACT, "channel_order", _one_of(ChannelOrder)),
    "scale": (Target.CONTRACT, "scale", _positive),
    "mean": (Target.CONTRACT, "mean", _THREE),
    "std": (Target.CONTRACT, "std", _THREE),
    "classes": (Target.CONTRACT, "classes", _names),
    "palette": (Target.CONTRACT, "palette", _colours),
    "ignore_index": (Target.CONTRACT, "ignore_index", _whole),
    "reduce_labels": (Target.CONTRACT, "reduce_labels", _yes),
    "label_map": (Target.CONTRACT, "label_map", _label_pairs),
    "threshold": (Target.CONTRACT, "threshold", _share),
    "input": (Target.CONTRACT, "input", _one_of(InputKind)),
    "output": (Target.CONTRACT, "output", _one_of(OutputKind)),
    "heads": (Target.CONTRACT, "heads", _names),
    "depth_scale": (Target.CONTRACT, "depth_scale", _positive),
    "depth_abs": (Target.CONTRACT, "depth_abs", _yes),
    "depth_range": (Target.CONTRACT, "depth_range", _numbers(2)),
}


def parse_value(key: str, value: Any, origin: str) -> Any:
    """Return the value of a known key in its type.

    >>> parse_value("scale", "1/255", "--set") == 1 / 255
    True

    Raises:
        InputError: not a value of that key; names the key and `origin`.
    """
    try:
        return KEYS[key][2](value)
    except (ValueError, TypeError, InputError) as error:
        raise InputError(
            f"Expected {_wanted(error)} as {key} in {origin}, but got {str(value)[:60]!r}: "
            "correct it."
        ) from error


def _wanted(error: Exception) -> str:
    """Return what the parser asked for; the errors of Python itself do not say it."""
    if isinstance(error, InputError):
        return str(error).removeprefix("Expected ").partition(", but")[0]
    return str(error) if isinstance(error, ValueError) else "a value"
