"""The plain values beside the weights: texts, numbers, lists and dicts, bounded in size."""

from __future__ import annotations

from typing import Any

from .pickle_values import Stub

_MAX_DEPTH = 12
_MAX_VALUES = 100_000
_MAX_CHARACTERS = 8 << 20
_LEFT_OUT = object()
# attributes of a foreign object are settings where it is one of these, and unknown elsewhere
_NAMESPACES = ("argparse.Namespace", "types.SimpleNamespace")
# what training needs to go on, and nobody else
_TRAINING = ("optim", "lr_sched", "param_sched", "message_hub", "callbacks", "loops", "scaler")


def plain_values(root: Any, used: frozenset[str]) -> dict[str, Any]:
    """Return the values at the top of `root` that are no weights and no training state.

    Lists, tuples and sets become lists; objects and tensors are left out, and so is whatever lies
    deeper than 12 levels or beyond 100,000 values or 8 Mi characters.
    """
    if not isinstance(root, dict):
        return {}
    walk = _Walk()
    found = {
        key: walk.plain(value, 0)
        for key, value in root.items()
        if type(key) is str and key not in used and not key.startswith(_TRAINING)
    }
    return {key: value for key, value in found.items() if value is not _LEFT_OUT}


class _Walk:
    """Copies plain values until its budget is spent."""

    def __init__(self) -> None:
        self.values, self.characters = _MAX_VALUES, _MAX_CHARACTERS

    def plain(self, value: Any, depth: int) -> Any:
        """Return a copy of what is plain in `value`, or `_LEFT_OUT`."""
        self.values -= 1
        if self.values < 0 or depth > _MAX_DEPTH:
            return _LEFT_OUT
        if isinstance(value, str):
            self.characters -= len(value)
            return value if self.characters >= 0 else _LEFT_OUT
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, int):
            return value if abs(value) < 1 << 63 else _LEFT_OUT
        if isinstance(value, (list, tuple)):
            return self._list(value, depth)
        if isinstance(value, Stub):
            state = value.state if str(value.name) in _NAMESPACES else None
            value = value.items if value.items is not None else state
        return self._dict(value, depth) if isinstance(value, dict) else _LEFT_OUT

    def _list(self, values: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        found = []
        for value in values:
            if self.values < 0:
                break
            if (copy := self.plain(value, depth + 1)) is not _LEFT_OUT:
                found.append(copy)
        return found

    def _dict(self, values: dict[Any, Any], depth: int) -> dict[Any, Any]:
        found = {}
        for key, value in values.items():
            if self.values < 0:
                break
            if isinstance(key, str):
                self.characters -= len(key)
            if (copy := self.plain(value, depth + 1)) is not _LEFT_OUT and self.characters >= 0:
                found[key] = copy
        return found
