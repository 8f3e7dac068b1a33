"""Signal and noise of one value over images, and what was made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .debug_points import Point

Array = NDArray[Any]
EXACT_DB = 200.0  # stands for no difference at all
BROKEN_DB = -200.0  # stands for NaN or Inf where the reference is finite


@dataclass(frozen=True)
class Value:
    """One value compared: noise that arrived there and noise made right before it.

    `snr_db` compares B with A as they run; `own_db` what B makes of A's values, so that only the
    parts between the points before and this one count. Both in dB of power, `EXACT_DB` at most.
    """

    key: str
    parts: tuple[str, ...]
    snr_db: float
    own_db: float
    max_abs: float  # greatest difference
    peak: float  # greatest magnitude in A
    not_finite: int  # values that are NaN or Inf in B and finite in A

    @property
    def part(self) -> str:
        """The part the value belongs to."""
        return self.parts[0]


@dataclass
class Tally:
    """Sums over the images seen, in float64; `equal` of `pixels` labels are the same."""

    signal: float = 0.0
    noise: float = 0.0
    own: float = 0.0
    max_abs: float = 0.0
    peak: float = 0.0
    not_finite: int = 0
    equal: int = 0
    pixels: int = 0

    def add(self, a: Array, b: Array, own: Array, *, labels: bool = False) -> None:
        """Add one image: A's value, B's, and what B makes of A's values; of one shape.

        With `labels` they are logits (B,K,H,W), whose largest class is compared as well.
        """
        sound = np.isfinite(a)
        clean = a if sound.all() else np.where(sound, a, 0)
        self.signal += _power(clean)
        self.peak = max(self.peak, float(np.abs(clean).max(initial=0)))
        difference = _difference(b, clean, sound)
        self.not_finite += int(np.count_nonzero(~np.isfinite(difference)))
        self.max_abs = max(self.max_abs, _largest(difference))
        self.noise += _power(difference)
        self.own += _power(_difference(own, clean, sound))
        if labels and a.ndim == 4 and a.shape[1] > 1:
            same = a.argmax(axis=1) == b.argmax(axis=1)
            self.equal += int(same.sum())
            self.pixels += same.size

    def value(self, point: Point) -> Value:
        """Return what was found at `point`."""
        return Value(
            key=point.key,
            parts=point.parts,
            snr_db=_decibels(self.signal, self.noise),
            own_db=_decibels(self.signal, self.own),
            max_abs=self.max_abs,
            peak=self.peak,
            not_finite=self.not_finite,
        )


def laid_out(values: Array, shape: tuple[int, ...]) -> Array | None:
    """Return `values` in `shape`: maps (B,C,H,W) as tokens (B,N,C) or back, None if they differ."""
    if values.shape == shape:
        return values
    if values.ndim == 4 and len(shape) == 3:
        values = values.reshape(*values.shape[:2], -1).transpose(0, 2, 1)
    elif values.ndim == 3 and len(shape) == 4 and values.size == math.prod(shape):
        values = values.transpose(0, 2, 1).reshape(shape)
    return values if values.shape == shape else None


def _difference(found: Array, clean: Array, sound: Array) -> Array:
    """Return found − clean where the reference is finite, 0 elsewhere."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = found - clean
    return difference if sound.all() else np.where(sound, difference, 0)


def _largest(values: Array) -> float:
    largest = float(np.abs(values).max(initial=0))
    return largest if math.isfinite(largest) else math.inf


def _power(values: Array) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.square(values, dtype=np.float64).sum())


def _decibels(signal: float, noise: float) -> float:
    """Return the ratio of two powers in dB.

    >>> _decibels(100.0, 1.0), _decibels(1.0, 0.0), _decibels(1.0, float("nan"))
    (20.0, 200.0, -200.0)
    """
    if noise == 0:
        return EXACT_DB
    if signal == 0 or not math.isfinite(noise):
        return BROKEN_DB
    return float(np.clip(10 * math.log10(signal / noise), BROKEN_DB, EXACT_DB))
