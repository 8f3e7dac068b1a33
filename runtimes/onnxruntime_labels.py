"""Labels of what ONNX Runtime leaves on the GPU."""

from __future__ import annotations

from typing import Any

from .cuda.labels import DeviceLogits, GpuLabels
from .cuda.library import cuda


class OrtLabels:
    """What makes labels on the device, on a stream of its own: a run ends with the device idle."""

    def __init__(self) -> None:
        """Compile the kernels for the first GPU and make the stream.

        Raises:
            MissingDependencyError: there is no CUDA runtime or no libnvrtc.
        """
        self._cuda = cuda()
        self._labeller = GpuLabels(self._cuda)
        self._stream = self._cuda.stream()

    def logits(self, value: Any, dtype: str) -> DeviceLogits:
        """Return an OrtValue on the device."""
        shape = tuple(value.shape())
        return DeviceLogits(value.data_ptr(), dtype, shape, self._stream, self._labeller)

    def close(self) -> None:
        """Give kernels, memory and stream back."""
        self._labeller.close()
        self._cuda.destroy_stream(self._stream)
