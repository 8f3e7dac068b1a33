"""Reading one YAML mapping: known keys only, each value of the type its field has."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from .errors import InputError
from .sizes import parse_size

Reader = Callable[[Any, str], Any]  # (value, where it stands) -> the checked value


def read_fields(
    values: Any, where: str, readers: dict[str, Reader], *, required: Sequence[str]
) -> dict[str, Any]:
    """Return the mapping with every value checked by the reader of its key.

    >>> read_fields({"limit": 3}, "r.yaml", {"limit": count}, required=())
    {'limit': 3}
    >>> read_fields({"limits": 3}, "r.yaml", {"limit": count}, required=())
    Traceback (most recent call last):
        ...
    segship.common.errors.InputError: r.yaml: unknown key 'limits': did you mean 'limit'?

    Raises:
        InputError: not a mapping, an unknown or a missing key, or a value of another type.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected keys and values, but got {values!r}.")
    for key in values:
        if key not in readers:
            raise InputError(f"{where}: unknown key {key!r}: {_nearest(str(key), readers)}")
    missing = [key for key in required if key not in values]
    if missing:
        raise InputError(f"{where}: expected the key {missing[0]!r}, but it is missing.")
    return {key: readers[key](value, f"{where}, {key}") for key, value in values.items()}


def text(value: Any, where: str) -> str:
    """Return a string that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: expected text, but got {value!r}.")
    return value


def flag(value: Any, where: str) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise InputError(f"{where}: expected true or false, but got {value!r}.")
    return value


def count(value: Any, where: str) -> int:
    """Return an integer of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{where}: expected a whole number of at least 1, but got {value!r}.")
    return value


def size(value: Any, where: str) -> tuple[int, int]:
    """Return (height, width) in pixels of `512x1024` or `512`."""
    try:
        return parse_size(str(value))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def choice(kind: type[Enum]) -> Reader:
    """Return a reader for the values of an enum."""

    def read(value: Any, where: str) -> Enum:
        try:
            return kind(value)
        except ValueError as error:
            known = ", ".join(str(item.value) for item in kind)
            raise InputError(f"{where}: expected one of {known}, but got {value!r}.") from error

    return read


def refuse_repeats(names: Sequence[str], where: str) -> None:
    """Refuse a list that holds a name twice."""
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InputError(f"{where}: expected each name once, but {name!r} stands twice.")


def _nearest(key: str, readers: dict[str, Reader]) -> str:
    close = difflib.get_close_matches(key, readers, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(readers)}."
