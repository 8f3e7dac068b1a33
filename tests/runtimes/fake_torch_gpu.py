"""torch's CPU in the place of a GPU: the same calls, events by a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from segship.runtimes.torch_gpu import TorchGpu


class ClockEvent:
    """An event that happens when it is recorded."""

    def __init__(self, gpu: CpuAsGpu) -> None:
        """Nothing recorded yet."""
        self.gpu, self.at_ms = gpu, 0.0

    def record(self) -> None:
        """Take the time."""
        self.at_ms = self.gpu.now_ms

    def synchronize(self) -> None:
        """The host is never ahead of itself."""

    def elapsed_time(self, end: ClockEvent) -> float:
        """Return milliseconds."""
        return end.at_ms - self.at_ms


class CpuAsGpu(TorchGpu):
    """Counts what was pinned and captured; a replay runs the step again into the same tensors."""

    def __init__(self) -> None:
        """The device is the CPU."""
        self.device = torch.device("cpu")
        self.pinned_shapes: list[tuple[int, ...]] = []
        self.captures = self.replays = 0
        self.now_ms = 0.0
        self.released = False

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return ordinary memory."""
        self.pinned_shapes.append(shape)
        return torch.empty(shape, dtype=dtype)

    def event(self) -> Any:
        """Return an event of `now_ms`."""
        return ClockEvent(self)

    def capture(self, step: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """Run once; a replay writes the same tensors, as a graph does."""
        self.captures += 1
        outputs = step()

        def replay() -> None:
            self.replays += 1
            for name, value in step().items():
                outputs[name].copy_(value)

        return replay, outputs

    def memory_mib(self) -> dict[str, float]:
        """Return invented peaks."""
        return {"tensors_peak": 3.0, "reserved_peak": 4.0}

    def release(self) -> None:
        """Remember it."""
        self.released = True
