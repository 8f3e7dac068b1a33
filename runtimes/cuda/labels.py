"""Labels from logits that lie on the GPU, so that one byte per pixel crosses the bus.

The kernels (`labels.cu`) give the bits of the CPU form, `upsample_argmax`. They take any device
memory of this process, so they serve torch and ONNX Runtime on CUDA as they serve TensorRT; a
second form in Triton or torch would add nothing but another rounding.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...common.errors import InputError, SegshipError
from ..upsample_argmax import Labels, label_dtype
from .buffers import DeviceBuffer, PinnedArray
from .kernels import LIBRARY, Kernels
from .library import TO_HOST, Cuda
from .nvrtc import compiled, find_nvrtc

SOURCE = "labels.cu"
_LEADER_THREADS = 256
_LABEL_BLOCK = (32, 8, 1)
_MOST_IMAGES = 65_535  # a grid's limit in y and z
_MOST_ROWS = 65_535 * _LABEL_BLOCK[1]
_MOST_POSITIONS = 2**30  # of one image: the kernels count them in int
_WORD_BYTES = 4


@dataclass(frozen=True)
class DeviceLogits:
    """Logits (B,K,h,w), contiguous, float32 or float16, at `address` on the device.

    They are complete once everything queued on `stream` is done. `labeller` turns them into
    labels; the memory belongs to the session that ran, until its next run.
    """

    address: int
    dtype: str
    shape: tuple[int, ...]
    stream: int
    labeller: GpuLabels

    def __getitem__(self, images: slice) -> DeviceLogits:
        """Return the first images: only `[:n]` is there."""
        if images.start not in (None, 0) or images.step not in (None, 1):
            raise InputError(f"Expected the first images, [:n], but got {images}.")
        count = len(range(*images.indices(self.shape[0])))
        return replace(self, shape=(count, *self.shape[1:]))

    def labels(
        self, size_px: tuple[int, int], *, align_corners: bool = False, level: float | None = None
    ) -> Labels:
        """Return labels (B,H,W) at `size_px` in host memory; see `GpuLabels.labels`."""
        return self.labeller.labels(self, size_px, align_corners=align_corners, level=level)


class GpuLabels:
    """The kernels, compiled for this GPU, with the memory they need."""

    def __init__(self, cuda: Cuda, *, image: bytes | None = None, driver: str = LIBRARY) -> None:
        """Compile the kernels, or take a compiled `image`, and load them.

        Raises:
            MissingDependencyError: there is no libnvrtc to compile with.
            CheckFailedError: the driver refuses the image.
        """
        self._cuda = cuda
        if image is None:
            device = cuda.device_info()
            image = compiled(source(), SOURCE, device.sm, find_nvrtc(device.driver))
        self._leaders = DeviceBuffer(cuda)
        self._found = DeviceBuffer(cuda)  # the labels, then the word that tells of NaN
        self._host = PinnedArray(cuda)
        self._leaders.reserve(_WORD_BYTES)  # with this the device's context is current
        try:
            self._kernels = Kernels(image, driver)
        except SegshipError:
            self._leaders.free()
            raise

    @property
    def size_bytes(self) -> int:
        """Device memory held beside the kernels."""
        return self._leaders.size_bytes + self._found.size_bytes

    def labels(
        self,
        logits: DeviceLogits,
        size_px: tuple[int, int],
        *,
        align_corners: bool = False,
        level: float | None = None,
    ) -> Labels:
        """Return the argmax of `logits` bilinearly resized to `size_px`, as on the CPU.

        Args:
            logits: finite, on the device.
            size_px: height and width of the label map.
            align_corners: as in torch's `interpolate`.
            level: the constant logit of a class 0 in front of the others, for one-class heads.

        Returns:
            (B,H,W): uint8, or int32 where there are more than 256 classes.

        Raises:
            InputError: another dtype, an empty shape, too large, or NaN or infinity in it.
        """
        _refuse_unusable(logits, size_px)
        batch, classes = logits.shape[:2]
        dtype = np.dtype(label_dtype(classes + (level is not None)))
        count = batch * size_px[0] * size_px[1]
        words = -(-count * dtype.itemsize // _WORD_BYTES)
        self._leaders.reserve(_WORD_BYTES * batch * logits.shape[2] * logits.shape[3])
        self._found.reserve(_WORD_BYTES * (words + 1))
        unusable = self._found.address + _WORD_BYTES * words
        self._kernels.clear(unusable, 1, logits.stream)
        self._find_leaders(logits, unusable, level)
        self._find_labels(logits, size_px, dtype.name, align_corners, level)
        host: NDArray[Any] = self._host.view((words + 1,), "int32")
        self._cuda.copy_async(
            self._host.address, self._found.address, host.nbytes, TO_HOST, logits.stream
        )
        self._cuda.synchronize(logits.stream)
        if host[words]:
            raise InputError(
                "Expected finite logits, but got NaN or infinity: the model overflowed, "
                "try a wider precision."
            )
        return np.array(host.view(dtype)[:count]).reshape(batch, *size_px)

    def close(self) -> None:
        """Give everything back."""
        self._kernels.close()
        self._leaders.free()
        self._found.free()
        self._host.free()

    def _find_leaders(self, logits: DeviceLogits, unusable: int, level: float | None) -> None:
        batch, classes, height, width = logits.shape
        blocks = -(-height * width // _LEADER_THREADS)
        arguments = (
            *_pointers(logits.address, self._leaders.address, unusable),
            *_ints(classes, height * width),
            *_background(level, logits.dtype),
        )
        name = f"leaders_{logits.dtype}"
        block = (_LEADER_THREADS, 1, 1)
        self._kernels.launch(name, (blocks, batch, 1), block, logits.stream, arguments)

    def _find_labels(
        self,
        logits: DeviceLogits,
        size_px: tuple[int, int],
        dtype: str,
        align_corners: bool,
        level: float | None,
    ) -> None:
        batch, classes, height, width = logits.shape
        arguments = (
            *_pointers(logits.address, self._leaders.address, self._found.address),
            *_ints(classes, height, width, *size_px),
            ctypes.c_float(step(height, size_px[0], align_corners)),
            ctypes.c_float(step(width, size_px[1], align_corners)),
            ctypes.c_int(align_corners),
            *_background(level, logits.dtype),
        )
        grid = (-(-size_px[1] // _LABEL_BLOCK[0]), -(-size_px[0] // _LABEL_BLOCK[1]), batch)
        name = f"labels_{logits.dtype}_{dtype}"
        self._kernels.launch(name, grid, _LABEL_BLOCK, logits.stream, arguments)


def source() -> bytes:
    """Return the CUDA source of the kernels."""
    return resources.files(__package__).joinpath(SOURCE).read_bytes()


def step(length_in: int, length_out: int, align_corners: bool) -> float:
    """Return how far apart neighbouring outputs read, in float32 as `axis_plan` computes it.

    >>> step(2, 4, False), step(3, 5, True)
    (0.5, 0.5)
    """
    if align_corners:
        return float(np.float32(length_in - 1) / np.float32(max(length_out - 1, 1)))
    return float(np.float32(length_in) / np.float32(length_out))


def _background(level: float | None, dtype: str) -> tuple[Any, Any]:
    """Return the kernels' last two arguments; the level is rounded as the logits are."""
    rounded = np.dtype(dtype).type(0 if level is None else level)
    return ctypes.c_float(float(rounded)), ctypes.c_int(level is not None)


def _pointers(*addresses: int) -> list[Any]:
    return [ctypes.c_void_p(address) for address in addresses]


def _ints(*values: int) -> list[Any]:
    return [ctypes.c_int(value) for value in values]


def _refuse_unusable(logits: DeviceLogits, size_px: tuple[int, int]) -> None:
    if logits.dtype not in ("float32", "float16") or len(logits.shape) != 4 or 0 in logits.shape:
        raise InputError(
            "Expected logits (batch, classes, height, width) in float32 or float16, "
            f"but got {logits.dtype} of shape {logits.shape}."
        )
    if min(size_px) < 1:
        raise InputError(f"Expected a positive label size, but got {size_px}.")
    positions = max(logits.shape[2] * logits.shape[3], size_px[0] * size_px[1])
    too_many = logits.shape[0] > _MOST_IMAGES or positions > _MOST_POSITIONS
    if too_many or size_px[0] > _MOST_ROWS:
        raise InputError(
            f"Expected at most {_MOST_IMAGES} images of {_MOST_POSITIONS} pixels in {_MOST_ROWS} "
            f"rows for the GPU, but got logits {logits.shape} and labels {size_px}: split them."
        )
