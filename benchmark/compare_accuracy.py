"""The difference of two mIoUs of different records, with an interval where one can be had."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bootstrap import CONFIDENCE, PairedBootstrap
from .image_counts import unpack_counts
from .record import Accuracy, Measurement, Record


@dataclass(frozen=True)
class MiouShift:
    """mIoU in both records; `drop` = old − new, a fraction of 1, with an interval where known."""

    old: float
    new: float
    verdict: str  # "same", "lost", "gained", "noise", "unknown" or "not ranked"
    reason: str
    drop: float
    low: float | None = None
    high: float | None = None


def miou_shift(
    old: Record,
    new: Record,
    pair: tuple[Measurement, Measurement],
    barriers: tuple[str, ...],
) -> MiouShift | None:
    """Compare the pair's mIoU; None where one of them was not scored.

    Records that keep the counts of every image give a paired bootstrap over them, as one run
    does. Others hold the interval of each drop against their baseline; where both baselines made
    the same confusion matrix, the difference of two drops lies between the differences of their
    limits, far wider: where each holds the truth in 95 of 100 cases, both do in 90 or more.
    """
    first, second = pair[0].accuracy, pair[1].accuracy
    if first is None or second is None:
        return None
    drop = first.miou - second.miou
    if first.excluded != second.excluded:
        barriers += ("different classes in the mean",)
    if barriers:
        return MiouShift(first.miou, second.miou, "not ranked", "; ".join(barriers), drop)
    if first.confusion == second.confusion:
        return MiouShift(
            first.miou, second.miou, "same", "the same confusion matrix", 0.0, 0.0, 0.0
        )
    limits, reason = _paired(first, second), "paired bootstrap over images"
    if limits is None:
        limits, reason = _limits(old, new, pair, (first, second)), "two drops against one baseline"
    if limits is None:
        reason = "neither counts per image nor one baseline: measure both in one run"
        return MiouShift(first.miou, second.miou, "unknown", reason, drop)
    low, high = limits
    verdict = "lost" if low > 0 else "gained" if high < 0 else "noise"
    return MiouShift(first.miou, second.miou, verdict, reason, drop, low, high)


def _paired(old: Accuracy, new: Accuracy) -> tuple[float, float] | None:
    """Return the interval of old − new where both records keep counts of the same images."""
    if old.counts is None or new.counts is None:
        return None
    first, second = unpack_counts(old.counts), unpack_counts(new.counts)
    if first.shape != second.shape or (first[..., 1] != second[..., 1]).any():
        return None  # other truth: another order, or another data set
    keep = ~np.isin(np.arange(first.shape[1]), old.excluded)
    bootstrap = PairedBootstrap(2, first.shape[1], keep=keep)
    for index, counts in enumerate(zip(first, second, strict=True)):
        bootstrap.add(index, np.stack(counts))
    return bootstrap.interval(bootstrap.differences(1), CONFIDENCE)


def _limits(
    old: Record,
    new: Record,
    pair: tuple[Measurement, Measurement],
    accuracies: tuple[Accuracy, Accuracy],
) -> tuple[float, float] | None:
    bases = [record.measurement(record.baseline).accuracy for record in (old, new)]
    if bases[0] is None or bases[1] is None or bases[0].confusion != bases[1].confusion:
        return None
    spans = []
    for record, item, accuracy in zip((old, new), pair, accuracies, strict=True):
        if item.name == record.baseline:
            spans.append((0.0, 0.0))
        elif accuracy.drop is None:
            return None
        else:
            spans.append((accuracy.drop.low, accuracy.drop.high))
    (first_low, first_high), (second_low, second_high) = spans
    return second_low - first_high, second_high - first_low
