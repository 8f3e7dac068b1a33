"""A checkpoint as the canonical torch model, on the CPU: the reference every artifact meets."""

from __future__ import annotations

from pathlib import Path

import torch

from ..models.checkpoints import load_checkpoint
from .session import Array, Session, TensorInfo


class TorchSession(Session):
    """The canonical `SegFormer` in FP32; any batch and size."""

    runtime = "torch"

    def __init__(self, source: str | Path, precision: str, threads: int) -> None:
        """Load the checkpoint `source`; `precision` is "fp32"."""
        checkpoint = load_checkpoint(source)
        self.precision, self.threads = precision, threads
        self.contract = checkpoint.contract
        self._model = checkpoint.model.eval()
        self._threads_before = torch.get_num_threads()
        self.input = TensorInfo("pixels", "float32", ("batch", 3, "height", "width"))
        self.outputs = tuple(
            TensorInfo(head.name, "float32", ("batch", head.classes, "rows", "columns"))
            for head in checkpoint.spec.heads
        )

    def _run(self, pixels: Array) -> dict[str, Array]:
        """Run with this session's thread count, which torch holds per process."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.inference_mode():
            outputs = self._model(torch.from_numpy(pixels))
        return {name: output.numpy() for name, output in outputs.items()}

    def close(self) -> None:
        """Give torch back the thread count it had."""
        torch.set_num_threads(self._threads_before)
