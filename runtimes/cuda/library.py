"""The CUDA runtime as segship needs it: memory, one stream, events, graphs, the first device.

A failed call is an error in one line that says what CUDA said. CUDA_VISIBLE_DEVICES chooses the
device: the first visible one is used. Sizes are in MiB of 2**20 bytes where a person reads them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...common.errors import CheckFailedError, InputError, MissingDependencyError
from .bindings import Binding, installed_bindings

MIB = 2**20
TO_DEVICE, TO_HOST, ON_DEVICE = 1, 2, 3  # cudaMemcpyKind
_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation
_DRIVER_TOO_OLD, _NO_DEVICE = 35, 100  # cudaErrorInsufficientDriver, cudaErrorNoDevice
_MAJOR, _MINOR, _INTEGRATED = 75, 76, 18  # cudaDeviceAttr
_NON_BLOCKING = 1  # cudaStreamNonBlocking: never waits for the default stream
_CAPTURE_THIS_THREAD = 1  # cudaStreamCaptureModeThreadLocal


@dataclass(frozen=True)
class DeviceInfo:
    """What is known of a GPU: `sm` as in "8.7", versions as in "12.9", memory in MiB."""

    name: str
    sm: str
    driver: str
    runtime: str
    total_mib: float
    integrated: bool
    pci_bus_id: str


class Cuda:
    """A CUDA runtime with its first device; every method raises where CUDA reports an error."""

    def __init__(self, binding: Binding, driver: str = "libcuda.so.1") -> None:
        """Use `binding`; `driver` is the library that knows the device's name.

        Raises:
            InputError: there is no NVIDIA driver, it is too old, or there is no GPU.
        """
        self._binding = binding
        self._driver = driver
        _refuse_no_device(binding)
        self._call("cudaSetDevice", 0)

    @property
    def library(self) -> str:
        """The library behind it, or "cuda-python"."""
        return self._binding.name

    def device_info(self) -> DeviceInfo:
        """Return what the driver and the runtime say about the device."""
        from .driver import device_name, pci_bus_id

        sm = f"{self._attribute(_MAJOR)}.{self._attribute(_MINOR)}"
        return DeviceInfo(
            name=device_name(self._driver) or f"NVIDIA GPU (SM {sm})",
            sm=sm,
            driver=_version(self._value("cudaDriverGetVersion")),
            runtime=_version(self._value("cudaRuntimeGetVersion")),
            total_mib=self.mem_info()[1],
            integrated=bool(self._attribute(_INTEGRATED)),
            pci_bus_id=pci_bus_id(self._driver),
        )

    def mem_info(self) -> tuple[float, float]:
        """Return the device's free and total memory in MiB."""
        free, total = self._call("cudaMemGetInfo")
        return free / MIB, total / MIB

    def malloc(self, size_bytes: int) -> int:
        """Return the address of new device memory.

        Raises:
            InputError: the device has not that much free.
        """
        return self._allocate("GPU", "cudaMalloc", size_bytes)

    def free(self, address: int) -> None:
        """Give device memory back."""
        self._call("cudaFree", address)

    def host_alloc(self, size_bytes: int) -> int:
        """Return the address of new pinned host memory, which the device copies from directly."""
        return self._allocate("pinned host", "cudaHostAlloc", size_bytes, 0)

    def host_free(self, address: int) -> None:
        """Give pinned host memory back."""
        self._call("cudaFreeHost", address)

    def copy_async(self, to: int, source: int, size_bytes: int, kind: int, stream: int) -> None:
        """Queue a copy; `kind` is TO_DEVICE, TO_HOST or ON_DEVICE."""
        self._call("cudaMemcpyAsync", to, source, size_bytes, kind, stream)

    def stream(self) -> int:
        """Return a new stream that does not wait for the default one."""
        return self._value("cudaStreamCreateWithFlags", _NON_BLOCKING)

    def synchronize(self, stream: int) -> None:
        """Wait until everything queued on `stream` is done; errors of kernels surface here."""
        self._call("cudaStreamSynchronize", stream)

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back."""
        self._call("cudaStreamDestroy", stream)

    def event(self) -> int:
        """Return a new event that records the time."""
        return self._value("cudaEventCreateWithFlags", 0)

    def record(self, event: int, stream: int) -> None:
        """Queue `event` on `stream`."""
        self._call("cudaEventRecord", event, stream)

    def elapsed_ms(self, start: int, end: int) -> float:
        """Return the device's milliseconds between two events that have happened."""
        return float(self._call("cudaEventElapsedTime", start, end)[0])

    def destroy_event(self, event: int) -> None:
        """Give an event back."""
        self._call("cudaEventDestroy", event)

    def begin_capture(self, stream: int) -> None:
        """From now on record what this thread queues on `stream` instead of running it."""
        self._call("cudaStreamBeginCapture", stream, _CAPTURE_THIS_THREAD)

    def end_capture(self, stream: int) -> int:
        """Stop recording and return the graph, ready to launch."""
        graph = self._value("cudaStreamEndCapture", stream)
        try:
            return self._value("cudaGraphInstantiateWithFlags", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def abort_capture(self, stream: int) -> None:
        """Stop recording, drop what was recorded, and forget the error that ended it."""
        _, (graph,) = self._binding.call("cudaStreamEndCapture", stream)
        if graph:
            self._binding.call("cudaGraphDestroy", graph)
        self._binding.call("cudaGetLastError")

    def launch(self, graph: int, stream: int) -> None:
        """Queue a graph."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Give a graph back."""
        self._call("cudaGraphExecDestroy", graph)

    def _attribute(self, number: int) -> int:
        return self._value("cudaDeviceGetAttribute", number, 0)

    def _value(self, function: str, *inputs: int) -> int:
        return int(self._call(function, *inputs)[0])

    def _call(self, function: str, *inputs: int) -> tuple[Any, ...]:
        code, outputs = self._binding.call(function, *inputs)
        if code:
            raise self._failure(function, code)
        return outputs

    def _failure(self, function: str, code: int) -> CheckFailedError:
        self._binding.call("cudaGetLastError")  # else the next, innocent call reports it
        return CheckFailedError(
            f"Expected {function} to succeed, but CUDA reports error {code}, "
            f"{self._binding.error_text(code)}: see segship doctor."
        )

    def _allocate(self, what: str, function: str, size_bytes: int, *flags: int) -> int:
        code, outputs = self._binding.call(function, size_bytes, *flags)
        if not code:
            return int(outputs[0])
        failure = self._failure(function, code)
        if code != _OUT_OF_MEMORY:
            raise failure
        free, total = self.mem_info()
        raise InputError(
            f"Expected {size_bytes / MIB:.1f} MiB of {what} memory, but CUDA is out of memory "
            f"({free:.1f} of the GPU's {total:.1f} MiB are free): take a smaller batch or size, "
            "or end what else uses the GPU."
        )


@functools.lru_cache(maxsize=1)
def cuda() -> Cuda:
    """Return the CUDA of this process: the first runtime found that sees a GPU.

    Raises:
        MissingDependencyError: no CUDA runtime can be loaded.
        InputError: there is no driver or no GPU.
    """
    return first_with_device(installed_bindings())


def first_with_device(bindings: Iterable[Binding], driver: str = "libcuda.so.1") -> Cuda:
    """Return the first of `bindings` that sees a GPU; an old one may lie beside one that does.

    Raises:
        MissingDependencyError: there are none.
        InputError: none sees a GPU; what the first one said.
    """
    refusal: InputError | None = None
    for binding in bindings:
        try:
            return Cuda(binding, driver)
        except InputError as error:
            refusal = refusal or error
    raise refusal or MissingDependencyError(
        "Expected the CUDA runtime, but no libcudart can be loaded: pip install cuda-python, or "
        "install the CUDA toolkit."
    )


def _refuse_no_device(binding: Binding) -> None:
    code, (count,) = binding.call("cudaGetDeviceCount")
    if not code and count > 0:
        return
    binding.call("cudaGetLastError")
    driver, runtime = (
        binding.call(name)[1][0] for name in ("cudaDriverGetVersion", "cudaRuntimeGetVersion")
    )
    if code == _DRIVER_TOO_OLD and driver:
        wanted = f"CUDA {_version(runtime)}" if runtime else binding.name  # 11 does not say
        raise InputError(
            f"Expected an NVIDIA driver for {wanted}, but this one serves CUDA "
            f"{_version(driver)}: update the driver or take an older CUDA runtime."
        )
    if code == _DRIVER_TOO_OLD:
        raise InputError("Expected an NVIDIA GPU, but no NVIDIA driver is installed: install one.")
    reason = binding.error_text(code or _NO_DEVICE)
    raise InputError(
        f"Expected an NVIDIA GPU, but {reason}: check nvidia-smi and CUDA_VISIBLE_DEVICES."
    )


def _version(number: int) -> str:
    """Return CUDA's number as people write it.

    >>> _version(12090)
    '12.9'
    """
    return f"{number // 1000}.{number % 1000 // 10}"
