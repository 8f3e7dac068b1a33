"""The steps of a torch model on a GPU: pixels in, compute, logits out; each timed by events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..data.contract import DEPTH_HEAD, Contract
from .cuda.labels import DeviceLogits, GpuLabels
from .session import Array
from .torch_gpu import Settings, TorchGpu

Model = Callable[[Tensor], dict[str, Tensor]]
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
STEPS = ("h2d", "compute", "d2h")
_KEPT_SHAPES = 4  # each holds its buffers and, where asked for, its graph


def logit_heads(contract: Contract) -> list[str]:
    """Return the heads labels can be made of."""
    return [name for name in contract.heads if name != DEPTH_HEAD]


@dataclass
class _Slot:
    """What one input shape keeps on the device and beside it."""

    pinned: Tensor
    pixels: Tensor
    replay: Callable[[], None] | None = None
    results: dict[str, Tensor] = field(default_factory=dict)
    returned: dict[str, Tensor] = field(default_factory=dict)
    kept: dict[str, Tensor] = field(default_factory=dict)


class GpuSteps:
    """Runs a model that lies on the device; buffers are kept for the shapes last seen."""

    def __init__(self, model: Model, gpu: TorchGpu, precision: str, *, graph: bool) -> None:
        """Take a model whose weights are in `precision`; `graph` records it once per shape."""
        self.gpu = gpu
        self._model, self._graph = model, graph
        self._dtype = DTYPES[precision]
        self._settings = Settings()
        self._slots: dict[tuple[int, ...], _Slot] = {}
        self._events = [gpu.event() for _ in range(len(STEPS) + 1)]
        self._ran = False
        self._labeller: GpuLabels | None = None

    def run(self, pixels: Tensor, keep: Collection[str] = ()) -> dict[str, Tensor]:
        """Return the model's outputs for float32 pixels (B,3,H,W), in pinned memory of this object.

        Those named in `keep` stay on the device. They are valid until the next run of the same
        shape.
        """
        slot = self._slot(tuple(pixels.shape))
        slot.pinned.copy_(pixels)
        start, loaded, computed, stored = self._events
        start.record()
        slot.pixels.copy_(slot.pinned, non_blocking=True)
        loaded.record()
        if slot.replay is not None:
            slot.replay()
        else:
            slot.results = self._compute(slot.pixels)
        computed.record()
        slot.kept = {name: slot.results[name].contiguous() for name in keep}
        for name, result in slot.results.items():
            if name in slot.kept:
                continue
            if name not in slot.returned or slot.returned[name].shape != result.shape:
                slot.returned[name] = self.gpu.pinned(tuple(result.shape), result.dtype)
            slot.returned[name].copy_(result, non_blocking=True)
        stored.record()
        stored.synchronize()
        self._ran = True
        return {**slot.returned, **slot.kept}

    def kept(
        self, found: Mapping[str, Tensor], keep: Collection[str]
    ) -> dict[str, Array | DeviceLogits]:
        """Return what `run` did: those in `keep` as labels are made of them on the device."""
        return {
            name: self._logits(value) if name in keep else value.numpy()
            for name, value in found.items()
        }

    def _logits(self, value: Tensor) -> DeviceLogits:
        if self._labeller is None:
            self._labeller = self.gpu.labeller()
        dtype = str(value.dtype).removeprefix("torch.")
        shape, stream = tuple(value.shape), self.gpu.stream()
        return DeviceLogits(value.data_ptr(), dtype, shape, stream, self._labeller)

    def times_ms(self) -> dict[str, float] | None:
        """Return the milliseconds of each step of the last run, None before the first one."""
        if not self._ran:
            return None
        pairs = zip(STEPS, self._events, self._events[1:], strict=False)
        return {name: float(before.elapsed_time(after)) for name, before, after in pairs}

    def close(self) -> None:
        """Free buffers and graphs, and give torch back its settings."""
        self._slots.clear()
        if self._labeller is not None:
            self._labeller.close()
        del self._model
        self._settings.restore()
        self.gpu.release()

    def _slot(self, shape: tuple[int, ...]) -> _Slot:
        if shape in self._slots:
            return self._slots[shape]
        while len(self._slots) >= _KEPT_SHAPES:
            del self._slots[next(iter(self._slots))]
        device = torch.zeros(shape, dtype=torch.float32, device=self.gpu.device)
        slot = _Slot(self.gpu.pinned(shape, torch.float32), device)
        if self._graph:
            slot.replay, slot.results = self.gpu.capture(lambda: self._compute(device))
        self._slots[shape] = slot
        return slot

    def _compute(self, pixels: Tensor) -> dict[str, Any]:
        outputs = self._model(pixels.to(self._dtype))
        if self._dtype is torch.bfloat16:
            return {name: output.float() for name, output in outputs.items()}
        return dict(outputs)
