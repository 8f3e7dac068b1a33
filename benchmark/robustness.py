"""What a record holds of outlines and damaged images."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Boundary:
    """Boundary F-score, fractions of 1; `f` is None for a class without a boundary.

    `mean` skips those classes and excluded ones; `rule` says how it was measured.
    """

    tolerance: str
    mean: float | None
    f: tuple[float | None, ...]
    rule: str


@dataclass(frozen=True)
class Corrupted:
    """mIoU on the same images, damaged; fractions of 1.

    `drop` is the mIoU lost against undamaged images. `beside_baseline` is the mIoU the baseline has
    more on the same damaged images, with its paired bootstrap interval; None for the baseline.
    """

    kind: str
    strength: float
    miou: float
    drop: float
    rule: str  # what the strength means
    beside_baseline: float | None = None
    low: float | None = None
    high: float | None = None
