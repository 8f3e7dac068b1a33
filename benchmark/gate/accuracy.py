"""mIoU, the worst class and pixel agreement, by a bootstrap over images.

The drop of the mIoU is paired: both measurements get the same weights of the same images. For the
worst class all K classes are looked at together: the interval of each is widened until all of them
hold at once (the largest of the K studentised deviations, Romano and Wolf 2005), or else one class
in twenty would fail a model against its equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..bootstrap import PairedBootstrap
from ..confusion import TRUTH, Counts, iou, miou
from ..image_counts import unpack_counts, unpack_same
from ..record import Accuracy
from .outcome import Check, Incomparable, Status, judge, too_wide
from .policy import POINTS, Budget, Policy

FEWEST_IMAGES = 5  # with less of a class a bootstrap over images says nothing of it
Floats = NDArray[np.float64]


def image_counts(accuracy: Accuracy | None, whose: str) -> Counts:
    """Return counts float64 (N,K,3) that add up to the accuracy's confusion matrix.

    Raises:
        Incomparable: there are none, or they do not.
        InputError: they are damaged.
    """
    if accuracy is None:
        raise Incomparable(f"the {whose} has no accuracy: measure it with --data")
    if accuracy.counts is None:
        raise Incomparable(f"the {whose}'s record keeps no counts per image: measure again")
    counts = unpack_counts(accuracy.counts)
    truth = [sum(row) for row in accuracy.confusion]
    hits = [row[k] for k, row in enumerate(accuracy.confusion)]
    if counts.shape[1] != len(truth) or counts.sum(axis=0)[:, :2].T.tolist() != [hits, truth]:
        raise Incomparable(f"the {whose}'s counts per image do not add up: measure again")
    return counts


class PairedAccuracy:
    """Two accuracies on the same images, and the replicates of their bootstrap."""

    def __init__(self, base: Accuracy | None, other: Accuracy | None, policy: Policy) -> None:
        """Draw the replicates.

        Raises:
            Incomparable: one was not measured, or the images or classes are not the same.
        """
        first, second = image_counts(base, "baseline"), image_counts(other, "candidate")
        if first.shape != second.shape or (first[..., TRUTH] != second[..., TRUTH]).any():
            raise Incomparable("other images, labels or classes were scored: use the same data")
        excluded = [item.excluded for item in (base, other) if item]
        if excluded[0] != excluded[1]:
            raise Incomparable("other classes were left out of the mean")
        self.policy = policy
        self.keep = ~np.isin(np.arange(first.shape[1]), excluded[0])
        self.images = (first[..., TRUTH] > 0).sum(axis=0)  # with the class in them
        self.totals = np.stack([first.sum(axis=0), second.sum(axis=0)])  # (2,K,3)
        self.bootstrap = PairedBootstrap(
            2, first.shape[1], replicates=policy.replicates, keep=self.keep
        )
        for index, pair in enumerate(zip(first, second, strict=True)):
            self.bootstrap.add(index, np.stack(pair))

    def check_miou(self, budget: Budget) -> Check:
        """Check the drop of the mean IoU."""
        base, other = (100 * float(miou(counts, self.keep)) for counts in self.totals)
        interval = PairedBootstrap.interval(self.bootstrap.differences(1), self.policy.confidence)
        if interval is None or not np.isfinite([base, other]).all():
            raise Incomparable("no class in the mean was scored")
        low, high = (100 * value for value in interval)
        status = judge(base - other, low, high, budget.limit)
        note = ""
        if status is Status.WARN and too_wide(low, high, budget.limit):
            note = "too few images to tell: the interval is wider than the budget"
        how = f"paired bootstrap over images, {self.policy.replicates} replicates"
        return Check(budget, status, how, POINTS, base, other, base - other, low, high, note)

    def check_worst_class(self, budget: Budget, names: tuple[str, ...]) -> Check:
        """Check the class that surely lost most; else the one whose estimate did."""
        gated = self.keep & (self.images >= FEWEST_IMAGES)
        if not gated.any():
            raise Incomparable(f"no class is in {FEWEST_IMAGES} images: use more images")
        base, other = 100 * iou(self.totals[0]), 100 * iou(self.totals[1])
        drops = (base - other)[gated]
        lows, highs = simultaneous(drops, self._class_drops(gated), self.policy.confidence)
        worst = int(np.argmax(lows if lows.max() > budget.limit else drops))
        number = int(np.flatnonzero(gated)[worst])
        low, high = float(lows[worst]), float(highs[worst])
        label = names[number] if number < len(names) else f"class {number}"
        left = int((self.keep & ~gated).sum())
        note = f"{label} of {int(gated.sum())} classes"
        if left:
            note += f"; {left} in fewer than {FEWEST_IMAGES} images not gated"
        how = f"paired bootstrap over images, all {int(gated.sum())} classes at once"
        unsure = sum(too_wide(*limits, budget.limit) for limits in zip(lows, highs, strict=True))
        if unsure:
            how += f"; of {unsure} the interval is wider than the budget, nothing can be told"
        change = float(drops[worst])
        status = judge(change, low, high, budget.limit)
        values = (float(base[number]), float(other[number]), change, low, high)
        return Check(budget, status, how, POINTS, *values, note)

    def _class_drops(self, gated: NDArray[np.bool_]) -> Floats:
        """Return baseline − candidate IoU in points, (R, gated classes)."""
        totals = self.bootstrap.totals()
        return np.asarray(100 * (iou(totals[:, 0]) - iou(totals[:, 1]))[:, gated])


def simultaneous(drops: Floats, replicates: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Return limits (K,) that hold for all drops (K,) at once, from replicates (R,K)."""
    centred = replicates - drops
    spread = np.nanstd(centred, axis=0)
    safe = np.where(spread > 0, spread, 1.0)
    deviations = np.abs(centred) / safe  # NaN where a replicate drew no image of a class
    largest = np.where(np.isnan(deviations), 0.0, deviations).max(axis=1)
    factor = float(np.quantile(largest, confidence))
    return drops - factor * spread, drops + factor * spread


def check_agreement(accuracy: Accuracy | None, budget: Budget, policy: Policy) -> Check:
    """Check the share of scored pixels labelled as by the baseline of the candidate's own record.

    Raises:
        Incomparable: the record does not hold it.
    """
    counts = image_counts(accuracy, "candidate")
    if accuracy is None or accuracy.counts is None or not accuracy.counts.same:
        raise Incomparable("the candidate is its record's only labelling one: measure two")
    scored, same = counts[..., TRUTH].sum(axis=1), unpack_same(accuracy.counts)
    weights = np.random.default_rng(0).poisson(1.0, (policy.replicates, len(scored)))
    known = weights @ scored > 0
    shares = 100 * (weights @ same)[known] / (weights @ scored)[known]
    tail = (1 - policy.confidence) / 2
    low, high = (float(value) for value in np.quantile(shares, (tail, 1 - tail)))
    share = 100 * float(same.sum() / scored.sum())
    status = judge(-share, -high, -low, -budget.limit)
    how = "bootstrap over images, against the baseline in the candidate's own record"
    return Check(budget, status, how, "%", 100.0, share, share, low, high)
