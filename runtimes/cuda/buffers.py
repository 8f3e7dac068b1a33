"""Memory of a session that grows when it must: on the device, and pinned on the host."""

from __future__ import annotations

import contextlib
import ctypes
import math
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...common.errors import CheckFailedError
from .library import Cuda


@dataclass(frozen=True)
class DeviceArray:
    """Where a tensor lies on the device, dense and in row-major order."""

    address: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def size_bytes(self) -> int:
        """Bytes it takes.

        >>> DeviceArray(0, (1, 19, 128, 128), "float16").size_bytes
        622592
        """
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class DeviceBuffer:
    """Device memory that is allocated again only where more is needed."""

    def __init__(self, cuda: Cuda) -> None:
        """Hold nothing yet."""
        self._cuda = cuda
        self.address, self.size_bytes = 0, 0

    def reserve(self, size_bytes: int) -> bool:
        """Hold at least `size_bytes`; say whether the address changed. The content is lost then.

        Raises:
            InputError: the device has not that much free; the buffer is empty then.
        """
        if size_bytes <= self.size_bytes:
            return False
        self.free()
        self.address = self._cuda.malloc(size_bytes)
        self.size_bytes = size_bytes
        return True

    def free(self) -> None:
        """Give the memory back; nothing happens the second time."""
        address, self.address, self.size_bytes = self.address, 0, 0
        if address:
            self._cuda.free(address)


class PinnedArray:
    """Pinned host memory, seen as a numpy array of whatever shape is asked for.

    The memory lives as long as a view of it: an array a user kept stays readable after `free`.
    """

    def __init__(self, cuda: Cuda) -> None:
        """Hold nothing yet."""
        self._cuda = cuda
        self._memory: Any = None
        self.address, self.size_bytes = 0, 0

    def view(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """Return an array over the memory; larger than ever before, it is new memory.

        Raises:
            InputError: there is not that much memory.
        """
        count = math.prod(shape)
        size_bytes = count * np.dtype(dtype).itemsize
        if size_bytes > self.size_bytes:
            self.free()
            self._allocate(size_bytes)
        return np.frombuffer(self._memory, dtype=dtype, count=count).reshape(shape)

    def free(self) -> None:
        """Give the memory back once no array shows it; nothing happens the second time."""
        self._memory, self.address, self.size_bytes = None, 0, 0

    def _allocate(self, size_bytes: int) -> None:
        address = self._cuda.host_alloc(size_bytes)
        self._memory = (ctypes.c_byte * size_bytes).from_address(address)
        self.address, self.size_bytes = address, size_bytes
        # not at exit: CUDA is gone by then, and so is the memory
        weakref.finalize(self._memory, _give_back, self._cuda, address).atexit = False


def _give_back(cuda: Cuda, address: int) -> None:
    """Free pinned memory nobody shows; on a device that has failed there is nothing to free."""
    with contextlib.suppress(CheckFailedError):
        cuda.host_free(address)
