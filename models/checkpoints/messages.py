"""Wording shared by the readers: short lists and short reasons, each on one line."""

from __future__ import annotations

from collections.abc import Iterable

_NAME_LENGTH = 120  # honest names of tensors stay below 80 characters


def listed(names: Iterable[str], shown: int = 2) -> str:
    """Return a few names and how many more there are.

    >>> listed(["b", "a", "c"])
    "'a', 'b' and 1 more"
    """
    ordered = sorted(names)
    text = ", ".join(repr(_short(name)) for name in ordered[:shown])
    rest = len(ordered) - shown
    return f"{text} and {rest} more" if rest > 0 else text


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where it has none.

    >>> one_line(ValueError("a" + chr(10) + "b"))
    'a'
    """
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__
