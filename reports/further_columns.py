"""Columns for the other definitions of accuracy, and for depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..benchmark.record import Accuracy, DepthAccuracy, Measurement
from .column import Column, Group
from .format import ABSENT, depth_value, percent, points

# field of `DepthAccuracy`, heading, and whether it is a share of pixels
DEPTH_METRICS = (
    ("abs_rel", "AbsRel", False),
    ("mae", "MAE", False),
    ("rmse", "RMSE", False),
    ("rmse_log", "RMSE-log", False),
    ("delta1", "δ<1.25", True),
    ("delta2", "δ<1.25²", True),
    ("delta3", "δ<1.25³", True),
)


def further_group(items: Sequence[Measurement]) -> Group:
    """Return pixel and class accuracy, F1 and the means over images and batches, where held."""
    found = [item.accuracy for item in items if item.accuracy]
    columns = list(_SHARES) if any(item.mean_accuracy is not None for item in found) else []
    for name in dict.fromkeys(name for item in found for name in item.levels):
        columns.append(Column(f"mIoU {name}", _of_accuracy(_level(name)), "%"))
    return Group("Further accuracy", tuple(columns))


def depth_group(items: Sequence[Measurement]) -> Group:
    """Return one column per depth metric, with the difference to the baseline behind the value."""
    if not any(item.depth for item in items):
        return Group("Depth", ())
    columns = (
        Column(heading, _of_depth(name, share), "%" if share else "", plain=True)
        for name, heading, share in DEPTH_METRICS
    )
    return Group("Depth", tuple(columns))


def depth_text(item: DepthAccuracy, name: str, *, share: bool) -> str:
    """Write one metric: errors in the data's unit, shares of pixels in per cent and points."""
    value, change = getattr(item, name), item.change.get(name)
    text = percent(value) if share else depth_value(value)
    if change is None:
        return text
    return f"{text} ({points(change) if share else depth_value(change, sign=True)})"


def _of_depth(name: str, share: bool) -> Callable[[Measurement], str]:
    return lambda item: depth_text(item.depth, name, share=share) if item.depth else ABSENT


def _of_accuracy(write: Callable[[Accuracy], str]) -> Callable[[Measurement], str]:
    return lambda item: write(item.accuracy) if item.accuracy else ABSENT


def _level(name: str) -> Callable[[Accuracy], str]:
    return lambda accuracy: percent(accuracy.levels.get(name))


_SHARES = (
    Column("pixel accuracy", _of_accuracy(lambda item: percent(item.pixel_accuracy)), "%"),
    Column("mean accuracy", _of_accuracy(lambda item: percent(item.mean_accuracy)), "%"),
    Column("mean F1", _of_accuracy(lambda item: percent(item.mean_f1)), "%"),
)
