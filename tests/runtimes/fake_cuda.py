"""Builds the fake CUDA libraries with gcc and drives them; the real ctypes path loads them."""

from __future__ import annotations

import ctypes
import functools
import gc
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from segship.runtimes.cuda.bindings import CtypesBinding
from segship.runtimes.cuda.library import Cuda

HERE = Path(__file__).resolve().parent
Work = Callable[[], None]


@functools.cache
def built(source: str, *options: str) -> str:
    """Return the shared library made of a C file beside this one; skip where gcc is missing."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs gcc to build the fake CUDA libraries")
    folder = Path(tempfile.mkdtemp(prefix="segship-fake-cuda-"))
    target = folder / f"{Path(source).stem}.so"
    command = [compiler, "-O1", "-shared", "-fPIC", *options, "-o", str(target)]
    subprocess.run([*command, str(HERE / source)], check=True)
    return str(target)


class FakeMachine:
    """The fake runtime: a GPU of 1 GiB, compute capability 8.7, driver for CUDA 12.8."""

    def __init__(self) -> None:
        """Build it if needed and start afresh."""
        self.path = built("fake_cudart.c")
        self.library = ctypes.CDLL(self.path)
        self.library.fake_reset()
        self._works: list[Work] = []
        self._callback = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self._run_work)

    def cuda(self) -> Cuda:
        """Return the product's own view of it."""
        return Cuda(CtypesBinding(self.path), driver=self.path)

    def fail(self, function: str, nth: int = 1, code: int = 2) -> None:
        """Make the nth call of `function` from now on return `code`."""
        self.library.fake_fail(function.encode(), nth, code)

    def machine(self, devices: int = 1, driver: int = 12080, memory: int = 2**30) -> None:
        """Change the number of devices, the driver's CUDA version and the memory in bytes."""
        self.library.fake_machine(devices, driver, ctypes.c_size_t(memory))

    def live(self) -> int:
        """Return how many allocations, streams, events and graphs nobody has given back."""
        gc.collect()  # arrays that only a cycle, a test's traceback, still holds are no leak
        return int(self.library.fake_live())

    def is_device(self, address: int, size_bytes: int) -> bool:
        """Say whether these bytes are device memory."""
        place, size = ctypes.c_void_p(address), ctypes.c_size_t(size_bytes)
        return bool(self.library.fake_is_device(place, size))

    def enqueue(self, stream: int, work: Work) -> None:
        """Queue a Python function on a stream, as a kernel would be; a capture records it."""
        self._works.append(work)
        place = ctypes.c_int64(len(self._works) - 1)
        self.library.fake_enqueue(ctypes.c_void_p(stream), self._callback, place)

    def _run_work(self, place: int) -> None:
        self._works[place]()
