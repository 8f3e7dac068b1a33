"""Turn a record's JSON back into dataclasses, strictly."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from .record import Record
from .record_check import refuse_impossible

_MOST = 2**63  # what a count can be; numpy holds no more


def read_values(path: Path) -> dict[str, Any]:
    """Return the JSON of a record with its schema version, which alone is known to be there.

    Raises:
        InputError: it is no JSON, has no schema version, or holds what no record can: NaN,
            infinity, half a character, or brackets in thousands.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        values: dict[str, Any] = json.loads(text)
        values["schema_version"]
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"Expected a segship record in JSON, but {path} is none.") from error
    return values


def record_from_json(values: dict[str, Any], source: str) -> Record:
    """Rebuild a `Record`; `source` names the file in the error for a malformed one."""
    try:
        record = typing.cast(Record, build(Record, values))
        refuse_impossible(record)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise InputError(
            f"Expected a whole segship record, but {source} is not: {error}."
        ) from error
    return record


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
    if isinstance(value, int) and not -_MOST <= value < _MOST:
        raise ValueError("a whole number in it is too large")
    return value
