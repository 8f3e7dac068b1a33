"""A TensorRT engine as a session: pinned host memory, one stream, a CUDA graph, times by events.

Each run copies the image to the device, computes, and copies the heads back; the three are timed
apart on the device. Not run on a GPU here: tested over a fake CUDA runtime and a fake TensorRT.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from ...common.errors import InputError
from ...data.contract import DEPTH_HEAD, OutputKind
from ..artifact import Artifact
from ..cuda.buffers import DeviceArray, DeviceBuffer, PinnedArray
from ..cuda.labels import DeviceLogits, GpuLabels
from ..cuda.library import MIB, TO_DEVICE, TO_HOST, Cuda
from ..cuda.library import cuda as process_cuda
from ..cuda.nvml import read_gpu_state
from ..cuda.replay import Replay
from ..session import Array, Session, TensorInfo, describe_heads
from .engine import Engine
from .sidecar import EngineInfo, check_engine, read_sidecar

_PARTS = ("h2d", "compute", "d2h")


class TensorRtSession(Session):
    """An engine on the first visible GPU; `stream` is where everything is queued."""

    runtime = "tensorrt"

    def __init__(
        self,
        artifact: Artifact,
        precision: str,
        threads: int,
        *,
        trt: Any = None,
        cuda: Cuda | None = None,
        graph: bool = True,
    ) -> None:
        """Open `artifact`, an engine with its sidecar.

        Args:
            artifact: the engine; checked against this machine before it is deserialized.
            precision: what the engine was built in; a name for records, the engine decides.
            threads: kept for records; the host only queues work.
            trt: the tensorrt module; None imports it.
            cuda: the CUDA runtime; None takes the process's own.
            graph: whether repeated runs of one shape become a CUDA graph.

        Raises:
            InputError: the engine is damaged, or was built for something else.
            CheckFailedError: TensorRT or CUDA refuse it.
            MissingDependencyError: TensorRT or the CUDA runtime is not installed.
        """
        self.precision, self.threads, self.contract = precision, threads, artifact.contract
        info = read_sidecar(artifact.path)
        self.input = _one_image(artifact, info)
        self.outputs, names = describe_heads(info.outputs, self.contract.heads)
        said = {item.name: item for item in info.outputs}
        self._heads = {
            head.name: said[name] for head, name in zip(self.outputs, names, strict=True)
        }
        trt = _tensorrt() if trt is None else trt
        self._cuda = process_cuda() if cuda is None else cuda
        self._shape: tuple[int, ...] = ()
        self._ran = self._busy = False
        self._labeller: GpuLabels | None = None
        with contextlib.ExitStack() as opened:
            self._open_engine(artifact, info, trt, opened)
            self._prepare_stream(opened, graph)
            self._opened = opened.pop_all()

    def _open_engine(
        self, artifact: Artifact, info: EngineInfo, trt: Any, opened: contextlib.ExitStack
    ) -> None:
        """Check and load the engine; `opened` learns how to give each piece back."""
        device = self._cuda.device_info()
        self._bus = device.pci_bus_id
        self.notes = check_engine(
            artifact.path, info, trt_version=trt.__version__, sm=device.sm, gpu=device.name
        )
        free_before, _ = self._cuda.mem_info()
        self._engine = Engine(trt, artifact.path, info)
        opened.callback(self._engine.close)
        self._engine_mib = max(0.0, free_before - self._cuda.mem_info()[0])

    def _prepare_stream(self, opened: contextlib.ExitStack, graph: bool) -> None:
        """Make the stream, its events and empty buffers; `opened` learns to give them back."""
        self.stream = self._cuda.stream()
        opened.callback(self._cuda.destroy_stream, self.stream)
        self._events = []
        for _ in range(len(_PARTS) + 1):
            self._events.append(self._cuda.event())
            opened.callback(self._cuda.destroy_event, self._events[-1])
        self._replay = Replay(self._cuda, self.stream, enabled=graph)
        opened.callback(self._replay.forget)
        self._device = {item.name: DeviceBuffer(self._cuda) for item in self._tensors()}
        self._host = {item.name: PinnedArray(self._cuda) for item in self._tensors()}
        for name in self._device:
            opened.callback(self._device[name].free)
            opened.callback(self._host[name].free)

    def run_on_device(self, pixels: Array) -> dict[str, DeviceArray]:
        """Queue one batch as in `run`, but leave the heads on the device.

        Queue on `stream` what shall follow, then call `finish`. The arrays hold until the next run.

        Raises:
            InputError: dtype or shape differ from what the engine takes.
            CheckFailedError: TensorRT or CUDA refuse the run.
        """
        self._refuse_mismatch(pixels)
        return self._queue(np.ascontiguousarray(pixels))

    def finish(self) -> None:
        """Wait for everything queued on `stream`; what was queued after the run counts as d2h."""
        self._cuda.record(self._events[3], self.stream)
        self._cuda.synchronize(self.stream)
        self._ran, self._busy = True, False

    def run_keeping_logits(self, pixels: Array) -> dict[str, Array | DeviceLogits]:
        """Run as `run` does, but leave logits on the device, where labels are made of them.

        Raises:
            InputError: as `run`.
            MissingDependencyError: there is no libnvrtc to compile the kernels with.
            CheckFailedError: TensorRT, CUDA or NVRTC refuse.
        """
        logits = self.contract.output is not OutputKind.LABELS
        kept = {
            head: self._kept(found) if logits and head != DEPTH_HEAD else self._fetched(head, found)
            for head, found in self.run_on_device(pixels).items()
        }
        self.finish()
        return kept

    def device_times_ms(self) -> dict[str, float] | None:
        """Return the device's own times of the last run: "h2d", "compute" and "d2h"."""
        if not self._ran:
            return None
        pairs = zip(self._events, self._events[1:], strict=False)
        times = (self._cuda.elapsed_ms(start, end) for start, end in pairs)
        return dict(zip(_PARTS, times, strict=True))

    def device_memory_mib(self) -> dict[str, float] | None:
        """Return what this session holds on the GPU, by use, in MiB.

        "engine" was free before the engine was opened and was not after: weights, code and
        "activations", the part TensorRT says lies between the layers; on a GPU with other users
        it holds their changes too. "buffers" are inputs, outputs and labels. "process", where the
        driver tells, is everything of this process.
        """
        buffers = sum(item.size_bytes for item in self._device.values())
        buffers += self._labeller.size_bytes if self._labeller else 0
        found = {
            "engine": self._engine_mib,
            "activations": self._engine.scratch_bytes / MIB,
            "buffers": buffers / MIB,
        }
        process_mib = read_gpu_state(self._bus).process_mib
        return found if process_mib is None else {**found, "process": process_mib}

    def close(self) -> None:
        """Free everything on the device; nothing happens the second time."""
        self._opened.close()

    def _run(self, pixels: Array) -> dict[str, Array]:
        """Run and return views of pinned memory, which the next run overwrites."""
        found = self._queue(pixels)
        arrays = {head: self._fetched(head, item) for head, item in found.items()}
        self.finish()
        return arrays

    def _fetched(self, head: str, found: DeviceArray) -> Array:
        """Queue the copy of a head to the host; return where it will be."""
        host = self._host[self._heads[head].name]
        array = host.view(found.shape, found.dtype)
        self._cuda.copy_async(host.address, found.address, array.nbytes, TO_HOST, self.stream)
        return array

    def _kept(self, found: DeviceArray) -> DeviceLogits:
        """Return logits where they are; the first time, compile what makes labels of them."""
        if self._labeller is None:
            self._labeller = GpuLabels(self._cuda)
            self._opened.callback(self._labeller.close)
        return DeviceLogits(found.address, found.dtype, found.shape, self.stream, self._labeller)

    def _queue(self, pixels: Array) -> dict[str, DeviceArray]:
        """Queue the copy to the device and the engine; return where its outputs will be."""
        if self._busy:  # no `finish` followed the last run, or an error: its memory is in use
            self._cuda.synchronize(self.stream)
        self._ran, self._busy = False, True
        if pixels.shape != self._shape:
            self._take_shape(pixels.shape)
        name, events = self.input.name, self._events
        host = self._host[name].view(pixels.shape, self.input.dtype)
        np.copyto(host, pixels, casting="no")
        self._cuda.record(events[0], self.stream)
        to, source = self._device[name].address, self._host[name].address
        self._cuda.copy_async(to, source, host.nbytes, TO_DEVICE, self.stream)
        self._cuda.record(events[1], self.stream)
        self._compute()
        self._cuda.record(events[2], self.stream)
        return {head: self._arrays[item.name] for head, item in self._heads.items()}

    def _compute(self) -> None:
        known = self._replay.refusal
        self._replay.run(lambda: self._engine.run(self.stream))
        if self._replay.refusal != known:
            self.notes += (f"Runs without a CUDA graph: {self._replay.refusal}",)

    def _take_shape(self, shape: tuple[int, ...]) -> None:
        """Set the engine to an image shape and give every tensor memory for it."""
        self._shape = ()
        self._replay.forget()
        self._engine.set_shape(self.input, shape, self.stream)
        self._arrays = {}
        for item in self._tensors():
            own = shape if item is self.input else self._engine.output_shape(item)
            size_bytes = DeviceArray(0, own, item.dtype).size_bytes
            self._device[item.name].reserve(size_bytes)
            address = self._device[item.name].address
            self._engine.bind(item.name, address)
            self._arrays[item.name] = DeviceArray(address, own, item.dtype)
        self._cuda.synchronize(self.stream)
        self._shape = shape

    def _tensors(self) -> tuple[TensorInfo, ...]:
        return (self.input, *self._heads.values())


def _one_image(artifact: Artifact, info: EngineInfo) -> TensorInfo:
    if len(info.inputs) != 1:
        raise InputError(
            f"Expected one image as input, but {artifact.path} takes {len(info.inputs)} tensors: "
            "build it from an ONNX file segship takes."
        )
    return info.inputs[0]


def _tensorrt() -> Any:
    from .module import load_tensorrt

    return load_tensorrt()
