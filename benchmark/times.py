"""Times as a record keeps them: every sample, and a summary of each quantity."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Samples:
    """Raw times of one quantity and their summary, in milliseconds."""

    samples_ms: tuple[float, ...]
    warmup_ms: tuple[float, ...]
    median_ms: float
    p90_ms: float
    p99_ms: float
    iqr_ms: float


@dataclass(frozen=True)
class DeviceTimes:
    """The same runs by the device's own clock: pixels in, compute, outputs back.

    ONNX Runtime tells no device times: there it is the host's clock between calls that wait.
    """

    h2d: Samples
    compute: Samples
    d2h: Samples
