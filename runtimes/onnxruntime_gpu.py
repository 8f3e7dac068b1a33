"""ONNX Runtime on a GPU: its CUDA and its TensorRT provider, never the CPU in their place.

ONNX Runtime answers a provider it cannot load with a warning and runs on the CPU. Here that is an
error, and so is a graph whose arithmetic it left on the CPU. The input and the outputs are bound to
device memory; the times are the host's, between calls that return when the device is done.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..common.errors import CheckFailedError, InputError, MissingDependencyError, SegshipError
from ..data.contract import DEPTH_HEAD, OutputKind
from .artifact import Artifact
from .cuda.labels import DeviceLogits
from .onnx_file import read_onnx_file
from .onnxruntime_labels import OrtLabels
from .onnxruntime_providers import provider_options, shape_range
from .onnxruntime_session import fixed_dimensions, new_session
from .per_shape import PerShape, Shape
from .placement import Placement, profile_prefix, read_placement
from .session import Array, Session, describe_heads

PROVIDERS = {
    "onnxruntime-cuda": ("CUDAExecutionProvider",),
    "onnxruntime-tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
DEVICE = "cuda"
_Item = TypeVar("_Item")
_INSTALL = (
    "pip uninstall onnxruntime, then pip install onnxruntime-gpu (both bring the same module)"
)


@dataclass
class _Bound:
    """A graph with its input on the device."""

    graph: Any
    binding: Any
    pixels: Any


class OnnxRuntimeGpuSession(Session):
    """An ONNX artifact on one of ONNX Runtime's providers for NVIDIA GPUs."""

    def __init__(self, artifact: Artifact, precision: str, threads: int, *, runtime: str) -> None:
        """Open `artifact` on `runtime`, a name of `PROVIDERS`.

        Args:
            artifact: an ONNX file; its own types decide what is computed in what.
            precision: "fp32": as the file says; "fp16" (TensorRT): TensorRT may round more.
            threads: of the host.
            runtime: which provider.

        Raises:
            InputError: the provider did not come up, left arithmetic on the CPU, or cannot open
                the file.
            MissingDependencyError: this ONNX Runtime is built without the provider.
        """
        self.runtime, self.precision, self.threads = runtime, precision, threads
        self.contract = artifact.contract
        self._providers = PROVIDERS[runtime]
        _refuse_not_built_in(self._providers[0])
        file = read_onnx_file(artifact.path)
        (self.input,) = file.inputs
        self.outputs, self._names = describe_heads(file.outputs, self.contract.heads)
        self._range = shape_range(self.input, self.contract)
        self._bound: dict[Shape, _Bound] = {}
        self._times_ms: dict[str, float] | None = None
        self._labels: OrtLabels | None = None
        self._graphs: PerShape[Any] = PerShape(
            lambda shape: self._open(artifact, shape), self.input, self.contract
        )

    def device_times_ms(self) -> dict[str, float] | None:
        """Return the last run's steps by the host's clock; each ends when the device is done."""
        return self._times_ms

    def device_memory_mib(self) -> dict[str, float] | None:
        """Return what the driver says this process takes; None where it does not say."""
        from .cuda.nvml import read_gpu_state

        used = read_gpu_state().process_mib
        return None if used is None else {"process": used}

    def close(self) -> None:
        """Free the sessions and what they hold on the device."""
        if self._labels is not None:
            self._labels.close()
        self._bound.clear()
        del self._graphs

    def run_keeping_logits(self, pixels: Array) -> dict[str, Array | DeviceLogits]:
        """Run as `run` does, but leave logits on the GPU, where labels are made of them.

        Raises:
            InputError: as `run`.
            MissingDependencyError: there is no CUDA runtime or libnvrtc to make labels with.
        """
        self._refuse_mismatch(pixels)
        with self._in_one_line():
            return dict(self._timed(np.ascontiguousarray(pixels), self._kept))

    def _run(self, pixels: Array) -> dict[str, Array]:
        """Copy in, run, copy out; the arrays are fresh."""

        def fetched(binding: Any) -> Iterable[tuple[str, Array]]:
            return zip(self.contract.heads, binding.copy_outputs_to_cpu(), strict=True)

        with self._in_one_line():
            return dict(self._timed(pixels, fetched))

    def _timed(self, pixels: Array, finish: Callable[[Any], Iterable[_Item]]) -> list[_Item]:
        """Copy in, run and `finish` with the binding; keep the time of each step."""
        marks = [time.perf_counter()]
        bound = self._bind(pixels)
        bound.pixels.update_inplace(pixels)
        marks.append(time.perf_counter())
        bound.graph.run_with_iobinding(bound.binding)
        marks.append(time.perf_counter())
        results = list(finish(bound.binding))
        marks.append(time.perf_counter())
        steps = zip(("h2d", "compute", "d2h"), marks, marks[1:], strict=False)
        self._times_ms = {name: 1e3 * (end - start) for name, start, end in steps}
        return results

    def _kept(self, binding: Any) -> Iterable[tuple[str, Array | DeviceLogits]]:
        """Yield each head: logits where the binding holds them until its next run."""
        logits = self.contract.output is not OutputKind.LABELS
        for info, value in zip(self.outputs, binding.get_outputs(), strict=True):
            if not logits or info.name == DEPTH_HEAD:
                yield info.name, value.numpy()
                continue
            self._labels = self._labels or OrtLabels()
            yield info.name, self._labels.logits(value, info.dtype)

    @contextlib.contextmanager
    def _in_one_line(self) -> Iterator[None]:
        """Make an error of ours of what ONNX Runtime raises, in copies and allocations too."""
        try:
            yield
        except SegshipError:
            raise
        except Exception as error:  # its exception classes share no public base
            reason = " ".join(str(error).split())
            if "memory" in reason.lower():
                raise InputError(
                    f"The GPU is out of memory on {self.runtime}: take a smaller batch or size "
                    f"({reason[:200]})"
                ) from error
            raise CheckFailedError(f"{self.runtime} cannot run this: {reason[:300]}") from error

    def _bind(self, pixels: Array) -> _Bound:
        """Return what runs this shape, with its input and outputs on the device."""
        import onnxruntime

        if pixels.shape in self._bound:
            return self._bound[pixels.shape]
        graph = self._graphs.graph_for(pixels.shape)
        if self.runtime == "onnxruntime-tensorrt":
            self._range.refuse_outside(pixels.shape)
        value = onnxruntime.OrtValue.ortvalue_from_numpy(pixels.copy(), DEVICE, 0)
        binding = graph.io_binding()
        binding.bind_ortvalue_input(self.input.name, value)
        for name in self._names:
            binding.bind_output(name, DEVICE, 0)
        self._bound = {pixels.shape: _Bound(graph, binding, value)}  # one shape holds memory
        return self._bound[pixels.shape]

    def _open(self, artifact: Artifact, shape: Shape | None) -> Any:
        """Open the file on the provider, run it once, and refuse what the CPU would have done."""
        taken = None if shape else self._range
        options = provider_options(self._providers, artifact, self.precision, self.input, taken)
        path = artifact.path
        with profile_prefix() as prefix, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is refused below
            graph = new_session(
                str(path),
                self.threads,
                label=str(path),
                fixed=fixed_dimensions(self.input, shape),
                providers=list(zip(self._providers, options, strict=True)),
                profile=prefix,
            )
            self._refuse_fallback(graph, path)
            graph.disable_fallback()
            placement = read_placement(graph, self._probe(shape))
        self._refuse_cpu_arithmetic(placement, path)
        return graph

    def _probe(self, shape: Shape | None) -> dict[str, Array]:
        return {self.input.name: np.zeros(shape or self._range.usual, self.input.dtype)}

    def _refuse_fallback(self, graph: Any, path: Path) -> None:
        came = graph.get_providers()
        if self._providers[0] not in came:
            raise InputError(
                f"Expected ONNX Runtime to open {path} on {self._providers[0]}, but it fell back "
                f"to {', '.join(came)}: a library it needs did not load; see segship doctor."
            )

    def _refuse_cpu_arithmetic(self, placement: Placement, path: Path) -> None:
        left = placement.arithmetic_on_cpu(self._providers)
        if left:
            raise InputError(
                f"Expected {path} to run on {self._providers[0]}, but ONNX Runtime left "
                f"{', '.join(left)} on the CPU: use runtime onnxruntime, or export the file again."
            )
        found = placement.notes(self._providers)
        if self.runtime == "onnxruntime-tensorrt" and self.precision == "fp32":
            found += _tf32_note()
        self.notes = tuple(dict.fromkeys((*self.notes, *found)))  # a second graph says it again


def _refuse_not_built_in(provider: str) -> None:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "Expected ONNX Runtime, but it is not installed: pip install onnxruntime-gpu."
        ) from error
    built_in = onnxruntime.get_available_providers()
    if provider not in built_in:
        raise MissingDependencyError(
            f"Expected an ONNX Runtime with {provider}, but {onnxruntime.__version__} has "
            f"{', '.join(built_in)}: {_INSTALL}."
        )
    if hasattr(onnxruntime, "preload_dlls"):  # 1.21: finds CUDA and cuDNN in pip's packages
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
            onnxruntime.preload_dlls()


def _tf32_note() -> tuple[str, ...]:
    """TensorRT's own default is TF32, and ONNX Runtime has no option against it."""
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return ()
    return (
        "TensorRT may round FP32 to TF32 inside ONNX Runtime: set NVIDIA_TF32_OVERRIDE=0 "
        "against it.",
    )
