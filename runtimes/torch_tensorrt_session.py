"""A checkpoint through Torch-TensorRT: for who stays in torch and wants TensorRT's kernels.

The compiled program is kept in the cache folder under everything it depends on. Not run on a GPU
here: the calls are checked against the names and parameters of torch_tensorrt 2.11.0's source.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..common.errors import CheckFailedError, InputError, MissingDependencyError, SegshipError
from ..common.files import atomic_path
from ..models.checkpoints import load_checkpoint
from ..models.checkpoints.checkpoint import Checkpoint
from .cache import cache_folder
from .cuda.labels import DeviceLogits
from .session import Array, Session, TensorInfo
from .torch_gpu import TorchGpu
from .torch_steps import GpuSteps, logit_heads
from .torch_tensorrt_export import Heads, Range, export_program, range_for

_INSTALL = "pip install torch-tensorrt, of the same 2.N as torch"
_MODELOPT = "modelopt.torch.quantization"
_OPTIONS = {
    "use_explicit_typing": True,  # the model's own types decide, as on TensorRT 10 and 11
    "disable_tf32": True,
    "require_full_compilation": False,
    "truncate_double": False,
}
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "int8": torch.float32}


class TorchTensorRtSession(Session):
    """The canonical `SegFormer` compiled by Torch-TensorRT for a range of batches and sizes."""

    runtime = "torch-tensorrt"

    def __init__(
        self,
        source: str | Path | Checkpoint,
        precision: str,
        threads: int,
        *,
        images: Sequence[Array] | None = None,
        trt: Any = None,
        gpu: TorchGpu | None = None,
    ) -> None:
        """Compile the checkpoint `source`, or take the program compiled before.

        Args:
            source: a checkpoint; a loaded one may hold a rewritten model, and is not kept.
            precision: "fp32", "fp16" (weights are converted) or "int8" (ModelOpt's Q/DQ).
            threads: of the host.
            images: for "int8": arrays (B,3,H,W) as the model takes them, which give the ranges.
            trt: the torch_tensorrt module; None imports it.
            gpu: the device; None finds it.

        Raises:
            InputError: no GPU, or INT8 without images.
            CheckFailedError: Torch-TensorRT cannot compile the model.
            MissingDependencyError: torch_tensorrt, or ModelOpt for INT8, is not installed.
        """
        if precision == "int8":
            _refuse_no_ranges(images)
        self.precision, self.threads = precision, threads
        self._trt = _load() if trt is None else trt
        place = TorchGpu() if gpu is None else gpu
        loaded = source if isinstance(source, Checkpoint) else load_checkpoint(source)
        self.contract = loaded.contract
        self.range = range_for(self.contract)
        self._describe({head.name: head.classes for head in loaded.spec.heads})
        keep = None if isinstance(source, Checkpoint) or images else self._kept_at(loaded)
        program = self._compiled(loaded, images or (), place, keep)
        self._steps = GpuSteps(self._by_head(program), place, self._floats, graph=False)

    def run_keeping_logits(self, pixels: Array) -> dict[str, Array | DeviceLogits]:
        """Run as `run` does, but leave logits on the GPU, where labels are made of them."""
        self._refuse_mismatch(pixels)
        keep = logit_heads(self.contract)
        return self._steps.kept(self._computed(np.ascontiguousarray(pixels), keep), keep)

    def device_times_ms(self) -> dict[str, float] | None:
        """Return the last run's milliseconds by the GPU's events."""
        return self._steps.times_ms()

    def device_memory_mib(self) -> dict[str, float] | None:
        """Return what the driver says this process takes, else the peaks of torch's own tensors."""
        from .cuda.nvml import read_gpu_state

        used = read_gpu_state().process_mib  # TensorRT allocates beside torch
        return self._steps.gpu.memory_mib() if used is None else {"process": used}

    def close(self) -> None:
        """Free the program and its buffers."""
        self._steps.close()

    @property
    def _floats(self) -> str:
        return "fp16" if self.precision == "fp16" else "fp32"

    def _run(self, pixels: Array) -> dict[str, Array]:
        found = self._computed(pixels, ())
        return {name: found[name].numpy() for name in self.contract.heads}

    def _computed(self, pixels: Array, keep: Collection[str]) -> dict[str, Tensor]:
        self.range.refuse_outside(pixels.shape)
        try:
            with torch.inference_mode():
                return self._steps.run(torch.from_numpy(pixels), keep)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise CheckFailedError(f"torch-tensorrt cannot run this: {reason[:300]}") from error

    def _describe(self, channels: dict[str, int]) -> None:
        free: tuple[int | str, ...] = ("batch", 3, "height", "width")
        self.input = TensorInfo("pixels", "float32", free if self.range.free else self.range.usual)
        dtype = "float16" if self.precision == "fp16" else "float32"
        self.outputs = tuple(
            TensorInfo(name, dtype, (self.input.shape[0], channels[name], "rows", "columns"))
            for name in self.contract.heads
        )

    def _by_head(self, program: Any) -> Any:
        """Return a function from pixels to a dictionary; one head may come without its tuple."""
        heads = self.contract.heads

        def run(pixels: Tensor) -> dict[str, Tensor]:
            found = program(pixels)
            return dict(zip(heads, [found] if isinstance(found, Tensor) else found, strict=True))

        return run

    def _compiled(
        self, loaded: Checkpoint, images: Sequence[Array], gpu: TorchGpu, keep: Path | None
    ) -> Any:
        """Return the program kept at `keep`, else compile it and keep it there."""
        if keep is not None and keep.is_file():
            with contextlib.suppress(Exception):  # damaged or of another build: compiled again
                return self._trt.load(str(keep)).module()
        model = Heads(copy.deepcopy(loaded.model), self.contract.heads).eval()
        model = model.to(gpu.device, _DTYPES[self.precision])
        with contextlib.ExitStack() as exporting:
            if images:
                exporting.enter_context(_quantised(model, images, gpu))
            exported = export_program(model, self.range, _DTYPES[self.precision], gpu.device)
            program = self._build(exported)
        if keep is not None:
            self._save(program, keep)
        return program

    def _build(self, exported: Any) -> Any:
        try:
            return self._trt.dynamo.compile(
                exported, arg_inputs=[self._input(self.range)], **_OPTIONS
            )
        except Exception as error:
            reason = " ".join(str(error).split())
            raise CheckFailedError(f"Torch-TensorRT cannot compile it: {reason[:300]}") from error

    def _input(self, wanted: Range) -> Any:
        dtype = _DTYPES[self.precision]
        if not wanted.free:
            return self._trt.Input(shape=wanted.usual, dtype=dtype, name="pixels")
        return self._trt.Input(
            min_shape=wanted.least,
            opt_shape=wanted.usual,
            max_shape=wanted.most,
            dtype=dtype,
            name="pixels",
        )

    def _save(self, program: Any, path: Path) -> None:
        """Keep the program; what cannot be kept is compiled again next time, and the user told."""
        try:
            with atomic_path(path) as temporary:
                self._trt.save(program, str(temporary), arg_inputs=[self._input(self.range)])
        except SegshipError as error:
            self.notes += (f"The compiled program was not kept: {error}",)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            self.notes += (f"The compiled program was not kept: {reason}",)

    def _kept_at(self, loaded: Checkpoint) -> Path:
        versions = (torch.__version__, str(getattr(self._trt, "__version__", "")))
        device = _device_words()
        parts = (loaded.spec.provenance.sha256, self.precision, repr(self.range), *versions, device)
        return cache_folder("torch-tensorrt", *parts) / "program.ep"


def _load() -> Any:
    try:
        return importlib.import_module("torch_tensorrt")
    except ImportError as error:
        raise MissingDependencyError(
            f"Expected Torch-TensorRT, but it cannot be imported: {_INSTALL}."
        ) from error


def _refuse_no_ranges(images: Sequence[Array] | None) -> None:
    if not images:
        raise InputError(
            "Expected images for INT8 on torch-tensorrt, but none can be given here: use segship "
            "quantize and segship build, or TorchTensorRtSession(images=…) in Python."
        )
    try:
        importlib.import_module(_MODELOPT)
    except ImportError as error:
        raise MissingDependencyError(
            "Expected NVIDIA ModelOpt for INT8 on torch-tensorrt, but it is not installed: "
            "pip install nvidia-modelopt."
        ) from error


def _quantised(model: Heads, images: Sequence[Array], gpu: TorchGpu) -> Any:
    """Put Q/DQ with the ranges of `images` into `model`; return the context of their export."""
    modelopt = importlib.import_module(_MODELOPT)

    def see(seen: Any) -> None:
        with torch.inference_mode():
            for image in images:
                seen(torch.from_numpy(image).to(gpu.device))

    modelopt.quantize(model, modelopt.INT8_DEFAULT_CFG, see)
    return modelopt.utils.export_torch_mode()


def _device_words() -> str:
    """Return name and compute capability of the GPU, "" where torch sees none."""
    if not torch.cuda.is_available():
        return ""
    return f"{torch.cuda.get_device_name()} {torch.cuda.get_device_capability()}"
