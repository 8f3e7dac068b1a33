"""A checkpoint as the canonical torch model, on the CPU: the reference every artifact meets.

On a GPU the same model is the baseline others are compared with: eager, compiled, or as a graph.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..common.errors import CheckFailedError, InputError, MissingDependencyError
from ..models.checkpoints import load_checkpoint
from ..models.checkpoints.checkpoint import Checkpoint
from .cuda.labels import DeviceLogits
from .session import Array, Session, TensorInfo
from .torch_gpu import TorchGpu
from .torch_steps import DTYPES, GpuSteps, Model, logit_heads

_COMPILED = ("torch-compile", "torch-cuda-compile")


class TorchSession(Session):
    """The canonical `SegFormer`; any batch and size. FP32 on the CPU, also FP16, BF16 on a GPU."""

    def __init__(
        self,
        source: str | Path | Checkpoint,
        precision: str,
        threads: int,
        *,
        runtime: str = "torch",
        gpu: TorchGpu | None = None,
    ) -> None:
        """Load the checkpoint `source`, or take a loaded one, which stays as it is.

        Args:
            source: a checkpoint.
            precision: "fp32"; on a GPU also "fp16" and "bf16": the weights are converted.
            threads: of the CPU.
            runtime: "torch" and "torch-compile" (CPU), "torch-cuda", "torch-cuda-compile" and
                "torch-cuda-graph"; "torch-compile" becomes "torch-cuda-compile" where torch sees
                a GPU, and `runtime` says so.
            gpu: the device; None finds it.

        Raises:
            InputError: no GPU, or a precision the CPU does not serve.
            MissingDependencyError: torch without CUDA, or nothing to compile with.
        """
        if runtime == "torch-compile" and (gpu or torch.cuda.is_available()):
            runtime = "torch-cuda-compile"
        self.runtime, self.precision, self.threads = runtime, precision, threads
        self._refuse_what_cannot_be(gpu)
        checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source)
        self.contract = checkpoint.contract
        self._threads_before = torch.get_num_threads()
        self._steps: GpuSteps | None = None
        self._model: Model = checkpoint.model.eval()
        if runtime.startswith("torch-cuda"):
            place = gpu or TorchGpu()
            self._model = copy.deepcopy(checkpoint.model).to(place.device, DTYPES[precision])
        if runtime in _COMPILED:
            # in one graph or not at all: a silent break would measure something between
            self._model = torch.compile(self._model, fullgraph=True)
        if runtime.startswith("torch-cuda"):
            self._steps = GpuSteps(self._model, place, precision, graph=runtime.endswith("graph"))
        self._describe({head.name: head.classes for head in checkpoint.spec.heads})

    def run_keeping_logits(self, pixels: Array) -> dict[str, Array | DeviceLogits]:
        """Run as `run` does, but leave logits on the GPU, where labels are made of them.

        Raises:
            InputError: as `run`, or this session is on the CPU.
            MissingDependencyError: there is no CUDA runtime or libnvrtc to make labels with.
        """
        if self._steps is None:
            return super().run_keeping_logits(pixels)
        self._refuse_mismatch(pixels)
        keep = logit_heads(self.contract)
        return self._steps.kept(self._computed(np.ascontiguousarray(pixels), keep), keep)

    def device_times_ms(self) -> dict[str, float] | None:
        """Return the last run's milliseconds by the GPU's events; None on the CPU."""
        return self._steps.times_ms() if self._steps else None

    def device_memory_mib(self) -> dict[str, float] | None:
        """Return the peaks of this process's tensors on the GPU; None on the CPU."""
        return self._steps.gpu.memory_mib() if self._steps else None

    def close(self) -> None:
        """Give torch back the threads and settings it had, and the GPU its memory."""
        torch.set_num_threads(self._threads_before)
        if self._steps is not None:
            self._steps.close()
            del self._model

    def _describe(self, channels: dict[str, int]) -> None:
        self.input = TensorInfo("pixels", "float32", ("batch", 3, "height", "width"))
        # numpy has no bfloat16: those logits are widened on the device
        dtype = "float16" if self.precision == "fp16" else "float32"
        self.outputs = tuple(
            TensorInfo(name, dtype, ("batch", channels[name], "rows", "columns"))
            for name in self.contract.heads
        )

    def _run(self, pixels: Array) -> dict[str, Array]:
        found = self._computed(pixels, ())
        return {name: found[name].numpy() for name in self.contract.heads}

    def _computed(self, pixels: Array, keep: Collection[str]) -> dict[str, Tensor]:
        """Run with this session's thread count, which torch holds per process."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                return self._outputs(pixels, keep)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"Expected a GPU with room for {pixels.shape}, but it is out of memory: take a "
                "smaller batch or size, or end what else uses the GPU."
            ) from error
        except Exception as error:
            if self.runtime == "torch":
                raise
            reason = " ".join(str(error).split())
            raise CheckFailedError(f"{self.runtime} cannot run this: {reason[:300]}") from error

    def _outputs(self, pixels: Array, keep: Collection[str]) -> dict[str, Tensor]:
        tensor = torch.from_numpy(pixels)
        return self._steps.run(tensor, keep) if self._steps else self._model(tensor)

    def _refuse_what_cannot_be(self, gpu: TorchGpu | None) -> None:
        on_gpu = self.runtime.startswith("torch-cuda")
        if not on_gpu and self.precision != "fp32":
            raise InputError(
                f"Expected fp32 on runtime {self.runtime} on a CPU, but got {self.precision}: the "
                "CPU is the FP32 reference; a GPU or openvino computes in less."
            )
        if self.runtime in _COMPILED and gpu is None:
            _refuse_no_compiler(on_gpu)


def _refuse_no_compiler(on_gpu: bool) -> None:
    """Refuse torch.compile where what it writes could not be compiled: C++, or Triton on a GPU."""
    if on_gpu:
        from importlib.util import find_spec

        if find_spec("triton") is None:
            raise MissingDependencyError(
                "Expected Triton for torch.compile on a GPU, but it is not installed: "
                "pip install triton."
            )
        return
    named = os.environ.get("CXX", "g++")
    if not (shutil.which(named) or shutil.which("clang++")):
        raise MissingDependencyError(
            f"Expected a C++ compiler for torch.compile, but neither {named} nor clang++ is on the "
            "PATH: apt install g++."
        )
