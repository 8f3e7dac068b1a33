"""A checkpoint as the canonical torch model, on the CPU: the reference every artifact meets."""

from __future__ import annotations

from pathlib import Path

import torch

from ..models.checkpoints import load_checkpoint
from ..models.checkpoints.checkpoint import Checkpoint
from .session import Array, Session, TensorInfo


class TorchSession(Session):
    """The canonical `SegFormer` in FP32; any batch and size."""

    runtime = "torch"

    def __init__(self, source: str | Path | Checkpoint, precision: str, threads: int) -> None:
        """Load the checkpoint `source`, or take a loaded one; `precision` is "fp32"."""
        checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source)
        self.precision, self.threads = precision, threads
        self.contract = checkpoint.contract
        self._model = checkpoint.model.eval()
        self._threads_before = torch.get_num_threads()
        self.input = TensorInfo("pixels", "float32", ("batch", 3, "height", "width"))
        channels = {head.name: head.classes for head in checkpoint.spec.heads}
        self.outputs = tuple(
            TensorInfo(name, "float32", ("batch", channels[name], "rows", "columns"))
            for name in self.contract.heads
        )

    def _run(self, pixels: Array) -> dict[str, Array]:
        """Run with this session's thread count, which torch holds per process."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.inference_mode():
            outputs = self._model(torch.from_numpy(pixels))
        return {name: outputs[name].numpy() for name in self.contract.heads}

    def close(self) -> None:
        """Give torch back the thread count it had."""
        torch.set_num_threads(self._threads_before)
