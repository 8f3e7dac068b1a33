"""Axes of the plots: a value becomes a place on the page, and round numbers become ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LOG_RATIO = 4.0  # a wider range than this is drawn on a logarithmic axis


@dataclass(frozen=True)
class Axis:
    """Values `low`..`high` laid on the page from `start` to `end` (SVG user units)."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return where `value` lies.

        >>> Axis(0, 10, 100, 200).place(5), Axis(1, 100, 0, 2, logarithmic=True).place(10)
        (150.0, 1.0)
        """
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, wanted: int = 5) -> tuple[float, ...]:
        """Return round values inside the axis, about `wanted` of them.

        >>> Axis(0, 10, 0, 1).ticks()
        (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
        >>> Axis(8, 120, 0, 1, logarithmic=True).ticks()
        (10.0, 20.0, 50.0, 100.0)
        """
        if self.logarithmic:
            return self._log_ticks()
        step = _round_step((self.high - self.low) / wanted)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(round(index * step, 9) for index in range(first, last + 1))

    def _log_ticks(self) -> tuple[float, ...]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [float(digit) * 10.0**decade for decade in decades for digit in (1, 2, 5)]
        return tuple(value for value in values if self.low <= value <= self.high)


def time_axis(values_ms: Sequence[float], start: float, end: float) -> Axis:
    """Return the axis of times: from zero, or logarithmic where the times differ widely."""
    low, high = min(values_ms), max(values_ms)
    if low > 0 and high / low > LOG_RATIO:
        return Axis(low / 1.3, high * 1.3, start, end, logarithmic=True)
    return Axis(0.0, high * 1.12 or 1.0, start, end)


def score_axis(values: Sequence[float], start: float, end: float, *, least: float = 1.0) -> Axis:
    """Return an axis around per cent values that never magnifies less than `least` points."""
    low, high = min(values), max(values)
    middle, half = (low + high) / 2, max(high - low, least) / 2
    return Axis(middle - half * 1.3, middle + half * 1.3, start, end)


def tick_text(value: float) -> str:
    """Write a tick without needless zeros.

    >>> tick_text(54.0), tick_text(0.25)
    ('54', '0.25')
    """
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _round_step(raw: float) -> float:
    """Return the next larger of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next((m * power for m in (1.0, 2.0, 5.0) if raw <= m * power * 1.0001), 10.0 * power)
