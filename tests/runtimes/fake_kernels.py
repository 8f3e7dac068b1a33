"""The kernels of labels.cu on the host: the fake driver, built with g++, on the fake runtime."""

from __future__ import annotations

import ctypes
import functools
import math
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segship.runtimes.cuda.buffers import DeviceBuffer, PinnedArray
from segship.runtimes.cuda.labels import DeviceLogits, GpuLabels
from segship.runtimes.cuda.library import TO_DEVICE
from segship.tests.runtimes.fake_cuda import FakeMachine

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parent.parent / "runtimes" / "cuda"
IMAGE = b"labels.cu"  # what the fake driver takes for compiled kernels


@functools.cache
def built_driver() -> str:
    """Return the fake libcuda; skip where g++ is missing."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("needs g++ to build labels.cu for the host")
    target = Path(tempfile.mkdtemp(prefix="segship-fake-driver-")) / "libcuda.so"
    flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
    command = [compiler, *flags, "-shared", "-fPIC", f"-I{HERE}", f"-I{KERNELS}"]
    subprocess.run([*command, "-o", str(target), str(HERE / "fake_cuda_driver.cpp")], check=True)
    return str(target)


def queue_kernels(machine: FakeMachine) -> ctypes.CDLL:
    """Make the fake driver queue its work on the streams of `machine`; return it."""
    driver = ctypes.CDLL(built_driver())
    driver.fake_use_queue(machine.library.fake_enqueue)
    return driver


class FakeLabeller:
    """`GpuLabels` on a fake GPU, with the host's side of the copies."""

    def __init__(self) -> None:
        """Build what is missing and load the kernels."""
        self.machine = FakeMachine()
        self.driver = queue_kernels(self.machine)
        self.cuda = self.machine.cuda()
        self.stream = self.cuda.stream()
        self.labeller = GpuLabels(self.cuda, image=IMAGE, driver=built_driver())
        self._sent, self._device = PinnedArray(self.cuda), DeviceBuffer(self.cuda)

    def upload(self, logits: NDArray[Any]) -> DeviceLogits:
        """Queue a copy of `logits` to the device; what was there before is overwritten."""
        view = self._sent.view(logits.shape, logits.dtype.name)
        view[...] = logits
        self._device.reserve(math.prod(view.shape) * view.itemsize)
        at = self._device.address
        self.cuda.copy_async(at, self._sent.address, view.nbytes, TO_DEVICE, self.stream)
        return DeviceLogits(at, logits.dtype.name, logits.shape, self.stream, self.labeller)

    def labels(self, logits: NDArray[Any], size_px: tuple[int, int], **options: Any) -> Any:
        """Return what the kernels make of `logits`."""
        return self.upload(np.ascontiguousarray(logits)).labels(size_px, **options)

    def close(self) -> None:
        """Give everything back."""
        self.labeller.close()
        self._device.free()
        self._sent.free()
        self.cuda.destroy_stream(self.stream)
