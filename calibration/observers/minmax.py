"""The whole range: nothing is clipped, and one outlier decides the step of all."""

from __future__ import annotations

from .observer import Observer


class MinMax(Observer):
    """From the smallest to the greatest value seen."""

    def _threshold(self, bits: int) -> float:  # noqa: ARG002 - the same for every width
        return self.peak

    def _limits(self, bits: int) -> tuple[float, float]:  # noqa: ARG002 - as above
        return self.minimum, self.maximum
