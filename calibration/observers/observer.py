"""What every observer does: exact extremes, a histogram, and a range made of both."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from ...common.errors import InputError
from .histogram import Histogram


class Observer(ABC):
    """Sees a tensor's values batch by batch, keeps none of them, and says its range.

    `minimum` and `maximum` are exact; a subclass says where between them the range ends.
    """

    def __init__(self, name: str = "the tensor") -> None:
        """Observe a tensor that messages call `name`."""
        self.name = name
        self.minimum, self.maximum = math.inf, -math.inf
        self.count = 0
        self.histogram = Histogram()

    def update(self, values: NDArray[np.float32]) -> None:
        """See every value of an array of any shape.

        Raises:
            InputError: a value is not a number or infinite.
        """
        if values.size:
            self.observe(values, float(values.min()), float(values.max()), values.size)

    def observe(
        self, sample: NDArray[np.float32], minimum: float, maximum: float, count: int
    ) -> None:
        """See a fair sample of `count` values whose exact extremes are given.

        Raises:
            InputError: an extreme is not a number or infinite.
        """
        if not (math.isfinite(minimum) and math.isfinite(maximum)):
            raise InputError(
                f"Expected finite activations, but {self.name} has values from {minimum} to "
                f"{maximum}: check the checkpoint and the input images."
            )
        self.minimum, self.maximum = min(self.minimum, minimum), max(self.maximum, maximum)
        self.count += count
        self.histogram.add(sample, self.peak)

    @property
    def peak(self) -> float:
        """The greatest magnitude seen."""
        return max(abs(self.minimum), abs(self.maximum))

    def range(self, symmetric: bool, bits: int = 8) -> tuple[float, float]:
        """Return (low, high), low ≤ 0 ≤ high; low = -high where `symmetric`.

        A tensor that is zero everywhere gets a range of one, so that a scale can be made of it.

        Raises:
            InputError: nothing has been seen, or `bits` is not in 2 to 16.
        """
        if not self.count:
            raise InputError(f"Expected values of {self.name}, but it has not been seen.")
        if not 2 <= bits <= 16:
            raise InputError(f"Expected 2 to 16 bits, but got {bits}.")
        if not self.peak:
            return (-1.0, 1.0) if symmetric else (0.0, 1.0)
        if symmetric:
            threshold = min(self._threshold(bits), self.peak)
            return -threshold, threshold
        low, high = self._limits(bits)
        return max(min(low, 0.0), min(self.minimum, 0.0)), min(max(high, 0.0), max(self.maximum, 0))

    @abstractmethod
    def _threshold(self, bits: int) -> float:
        """Return T > 0 of the range [-T, T]."""

    @abstractmethod
    def _limits(self, bits: int) -> tuple[float, float]:
        """Return (low, high) for an asymmetric range; both are cut to the extremes after."""
