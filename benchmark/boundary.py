"""Boundary F-score: how well outlines are met, where mIoU mostly counts interiors.

Csurka, Larlus and Perronnin 2013, "What is a good evaluation measure for semantic segmentation?":
per image and class, precision is the share of predicted boundary pixels that have a true one
within the tolerance, recall the same the other way round, F = 2PR / (P + R). F is averaged over
the images that hold the class, then over the classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError

Labels = NDArray[Any]
Mask = NDArray[np.bool_]
Points = tuple[NDArray[np.intp], ...]  # rows, columns

RULE = (
    "boundary pixels have a neighbour (4) of another class; neither the image's edge nor ignored "
    "pixels make one; distances are Euclidean; per image and class, a class only one side holds "
    "scores 0, mean over images, then classes (Csurka et al. 2013)"
)


@dataclass(frozen=True)
class Tolerance:
    """How far a boundary may be off: pixels, or a share of the image's diagonal."""

    px: float | None = None
    diagonal: float | None = None

    @property
    def words(self) -> str:
        """Return it as written: "3 px", "0.75 % of the diagonal"."""
        if self.px is not None:
            return f"{self.px:g} px"
        return f"{100 * (self.diagonal or 0):g} % of the diagonal"

    def pixels(self, size_px: tuple[int, ...]) -> float:
        """Return the tolerance in pixels for an image of (height, width)."""
        return self.px if self.px is not None else (self.diagonal or 0) * math.hypot(*size_px)


def parse_tolerance(text: str) -> Tolerance:
    """Read "3" (pixels) or "0.75%" (of the diagonal).

    >>> parse_tolerance("0.75%").pixels((30, 40))
    0.375

    Raises:
        InputError: it is neither, or negative.
    """
    share = text.strip().endswith("%")
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < (100 if share else 10_000):
        raise InputError(
            f"Expected a boundary tolerance in pixels (3) or per cent of the diagonal (0.75%), "
            f"but got {text!r}."
        )
    return Tolerance(diagonal=value / 100) if share else Tolerance(px=value)


class BoundaryScores:
    """Sums of F per class; its size does not depend on the number of images."""

    def __init__(self, classes: int, ignore_index: int, tolerance: Tolerance) -> None:
        """Start empty; `total` is the sum of F float64 (K,), `images` how many hold the class."""
        self.classes, self.ignore_index, self.tolerance = classes, ignore_index, tolerance
        self.total = np.zeros(classes)
        self.images = np.zeros(classes, np.int64)

    def update(self, truth: Labels, prediction: Labels) -> None:
        """Add one image: integer labels (H,W) of truth and prediction."""
        radius = self.tolerance.pixels(truth.shape)
        ignored = truth == self.ignore_index
        sides = [(labels, edges(labels, ignored)) for labels in (truth, prediction)]
        for label in range(self.classes):
            maps = [edge & (labels == label) for labels, edge in sides]
            if not (maps[0].any() or maps[1].any()):
                continue
            self.total[label] += f_score(maps[0], maps[1], radius)
            self.images[label] += 1

    def result(self) -> tuple[float | None, ...]:
        """Return F per class; None for a class without a boundary in truth and prediction."""
        return tuple(
            float(total / images) if images else None
            for total, images in zip(self.total, self.images, strict=True)
        )


def edges(labels: Labels, ignored: Mask) -> Mask:
    """Return bool (H,W): pixels with a 4-neighbour of another class, ignored pixels left out."""
    found = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        ahead = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
        behind = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
        differs = (labels[ahead] != labels[behind]) & ~ignored[ahead] & ~ignored[behind]
        found[ahead] |= differs
        found[behind] |= differs
    return found


def f_score(truth: Mask, prediction: Mask, radius_px: float) -> float:
    """Return F of two boundary maps (H,W), 0 where one of them is empty."""
    points = (np.nonzero(truth), np.nonzero(prediction))
    if not points[0][0].size or not points[1][0].size:
        return 0.0
    precision = share_within(points[1], truth, radius_px)
    recall = share_within(points[0], prediction, radius_px)
    both = precision + recall
    return 2 * precision * recall / both if both else 0.0


def share_within(points: Points, boundary: Mask, radius_px: float) -> float:
    """Return the share of `points` with a pixel of `boundary` (H,W) within `radius_px`, inclusive.

    A disk is a stack of row segments; how many boundary pixels a segment holds is the difference
    of two running sums of its row.
    """
    height, width = boundary.shape
    sums = np.zeros((height, width + 1), np.int32)
    np.cumsum(boundary, axis=1, out=sums[:, 1:])
    rows, columns = points
    near = np.zeros(rows.shape, bool)
    whole = math.floor(radius_px)
    for step in range(-whole, whole + 1):
        half = math.floor(math.sqrt(radius_px**2 - step**2))
        inside = (rows + step >= 0) & (rows + step < height)
        row = np.clip(rows + step, 0, height - 1)
        high = np.minimum(columns + half + 1, width)
        low = np.maximum(columns - half, 0)
        near |= inside & (sums[row, high] > sums[row, low])
    return float(near.mean())
