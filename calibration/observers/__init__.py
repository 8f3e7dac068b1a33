"""Streaming observers of a tensor's values: one rule for the range per file."""

from __future__ import annotations

from ...common.errors import InputError
from .entropy import Entropy
from .minmax import MinMax
from .mse import Mse
from .observer import Observer
from .percentile import DEFAULT_PERCENTILE, Percentile

METHODS = ("minmax", "percentile", "entropy", "mse")


def make_observer(
    method: str, name: str = "the tensor", *, percentile: float = DEFAULT_PERCENTILE
) -> Observer:
    """Return a fresh observer of the tensor `name`; `percentile` is read by that method alone.

    >>> type(make_observer("mse")).__name__
    'Mse'

    Raises:
        InputError: an unknown method, or a percentile outside (50, 100].
    """
    if method == "minmax":
        return MinMax(name)
    if method == "percentile":
        return Percentile(name, percentile)
    if method == "entropy":
        return Entropy(name)
    if method == "mse":
        return Mse(name)
    raise InputError(f"Expected a method of {', '.join(METHODS)}, but got {method!r}.")
