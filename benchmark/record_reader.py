"""Turn a record's JSON back into dataclasses, strictly."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from ..common.errors import InputError
from .record import Record


def record_from_json(values: dict[str, Any], source: str) -> Record:
    """Rebuild a `Record`; `source` names the file in the error for a malformed one."""
    try:
        record = build(Record, values)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"Expected a whole segship record, but {source} is not: {error}."
        ) from error
    return typing.cast(Record, record)


def build(wanted: Any, value: Any) -> Any:
    """Return `value` as type `wanted` (dataclass, tuple, dict, optional or plain).

    Raises:
        TypeError, ValueError, KeyError, AttributeError: it is something else.
    """
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        inner = next(item for item in arguments if item is not type(None))
        return None if value is None else build(inner, value)
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        hints = typing.get_type_hints(wanted)
        return wanted(**{name: build(hints[name], item) for name, item in value.items()})
    if origin is tuple:
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        return tuple(build(kind, item) for kind, item in zip(kinds, value, strict=True))
    if origin is dict:
        return {key: build(arguments[1], item) for key, item in value.items()}
    return _checked(wanted, value)


def _checked(wanted: Any, value: Any) -> Any:
    """Return a plain value; refuse text where a number belongs, and the other way round."""
    kinds = {float: (int, float), int: (int,), str: (str,)}.get(wanted)
    if kinds and (not isinstance(value, kinds) or isinstance(value, bool)):
        raise TypeError(f"{value!r} is no {wanted.__name__}")
    return value
