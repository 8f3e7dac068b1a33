"""What torch sessions ask of torch.cuda: the device, pinned memory, events, graphs, settings.

One small class, so that a test can put another device in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..common.errors import InputError, MissingDependencyError
from .cuda.labels import GpuLabels
from .cuda.library import cuda

_MIB = 1 << 20
_WARM_RUNS = 3  # before a capture: cuDNN and cuBLAS choose and allocate, which no graph may hold


class TorchGpu:
    """The first GPU torch sees, as PyTorch's own allocator and current stream use it."""

    def __init__(self) -> None:
        """Find the GPU.

        Raises:
            MissingDependencyError: this torch was built without CUDA.
            InputError: torch sees no GPU.
        """
        if torch.version.cuda is None:
            raise MissingDependencyError(
                f"Expected torch with CUDA, but torch {torch.__version__} is built without: "
                "install torch's CUDA build, https://pytorch.org/get-started."
            )
        if not torch.cuda.is_available():
            raise InputError(
                "Expected an NVIDIA GPU, but torch sees none: check nvidia-smi, the driver and "
                "CUDA_VISIBLE_DEVICES."
            )
        self.device = torch.device("cuda", torch.cuda.current_device())

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return page-locked host memory, which the device copies from and to directly."""
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def event(self) -> Any:
        """Return an event that records the device's time."""
        return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

    def capture(self, step: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """Record `step` as a CUDA graph; return what replays it and the tensors it writes."""
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_RUNS):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = step()
        return graph.replay, outputs

    def stream(self) -> int:
        """Return the handle of the stream torch queues on now."""
        return int(torch.cuda.current_stream().cuda_stream)

    def labeller(self) -> GpuLabels:
        """Return what makes labels of logits on this device, where torch's context is current.

        Raises:
            MissingDependencyError: there is no CUDA runtime or no libnvrtc.
        """
        return GpuLabels(cuda())

    def memory_mib(self) -> dict[str, float]:
        """Return the peaks of what tensors took and of what torch reserved for them, in MiB."""
        return {
            "tensors_peak": torch.cuda.max_memory_allocated(self.device) / _MIB,
            "reserved_peak": torch.cuda.max_memory_reserved(self.device) / _MIB,
        }

    def release(self) -> None:
        """Give cached blocks back to the device."""
        torch.cuda.empty_cache()


class Settings:
    """torch's process-wide settings as sessions on a GPU want them, until `restore`.

    TF32 off: it would round FP32 inputs to 10 bits of mantissa without being asked.
    https://docs.pytorch.org/docs/stable/notes/cuda.html
    cuDNN tries its algorithms once per shape: a baseline must not lose by a poor first guess.
    """

    def __init__(self) -> None:
        """Set them, and remember what was."""
        self._before = (
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cudnn.benchmark,
        )
        self._set(False, False, True)

    def restore(self) -> None:
        """Set what was before."""
        self._set(*self._before)

    @staticmethod
    def _set(matmul: bool, convolution: bool, search: bool) -> None:
        torch.backends.cuda.matmul.allow_tf32 = matmul
        torch.backends.cudnn.allow_tf32 = convolution
        torch.backends.cudnn.benchmark = search
