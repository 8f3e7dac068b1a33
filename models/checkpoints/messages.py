"""Wording shared by the readers: short lists and short reasons, each on one line."""

from __future__ import annotations

from collections.abc import Iterable


def listed(names: Iterable[str], shown: int = 2) -> str:
    """Return a few names and how many more there are.

    >>> listed(["b", "a", "c"])
    "'a', 'b' and 1 more"
    """
    ordered = sorted(names)
    text = ", ".join(repr(name) for name in ordered[:shown])
    rest = len(ordered) - shown
    return f"{text} and {rest} more" if rest > 0 else text


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where it has none.

    >>> one_line(ValueError("a" + chr(10) + "b"))
    'a'
    """
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__
