"""Kernels of our own: a compiled image loaded and launched through the driver library.

The runtime (`library.Cuda`) has made the device's primary context current by then; memory and
streams of the runtime are the driver's too. None of these functions has a second version in the
driver's header. https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__MODULE.html
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from ...common.errors import CheckFailedError, MissingDependencyError

LIBRARY = "libcuda.so.1"
Extent = tuple[int, int, int]
_Out = ctypes.POINTER(ctypes.c_void_p)
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuModuleLoadData": (_Out, ctypes.c_char_p),
    "cuModuleUnload": (ctypes.c_void_p,),
    "cuModuleGetFunction": (_Out, ctypes.c_void_p, ctypes.c_char_p),
    "cuLaunchKernel": (ctypes.c_void_p, *(ctypes.c_uint,) * 7, ctypes.c_void_p, _Out, _Out),
    "cuMemsetD32Async": (ctypes.c_uint64, ctypes.c_uint, ctypes.c_size_t, ctypes.c_void_p),
    "cuGetErrorString": (ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)),
}


class Kernels:
    """The functions of one compiled image, on the device whose context is current."""

    def __init__(self, image: bytes, library: str = LIBRARY) -> None:
        """Load `image`, a binary for this GPU or PTX.

        Raises:
            MissingDependencyError: the driver library cannot be loaded.
            CheckFailedError: the driver refuses the image.
        """
        self._module = ctypes.c_void_p()
        self._functions: dict[str, ctypes.c_void_p] = {}
        try:
            self._driver = ctypes.CDLL(library)
        except OSError as error:
            raise MissingDependencyError(
                f"Expected the NVIDIA driver, but got {error}: install it."
            ) from error
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._driver, name)
            function.argtypes, function.restype = arguments, ctypes.c_int
        self._call("cuModuleLoadData", ctypes.byref(self._module), image)

    def launch(
        self, name: str, grid: Extent, block: Extent, stream: int, arguments: Sequence[Any]
    ) -> None:
        """Queue a kernel on `stream`; `arguments` are ctypes values of the kernel's own types.

        Raises:
            CheckFailedError: there is no such kernel, or the driver refuses the launch.
        """
        places = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
        function = self._function(name)
        self._call("cuLaunchKernel", function, *grid, *block, 0, stream, places, None)

    def clear(self, address: int, words: int, stream: int) -> None:
        """Queue zeros for `words` times four bytes of device memory."""
        self._call("cuMemsetD32Async", address, 0, words, stream)

    def close(self) -> None:
        """Unload the image; nothing happens the second time."""
        module, self._module = self._module, ctypes.c_void_p()
        self._functions.clear()
        if module:
            self._call("cuModuleUnload", module)

    def _function(self, name: str) -> ctypes.c_void_p:
        if name not in self._functions:
            found = ctypes.c_void_p()
            self._call("cuModuleGetFunction", ctypes.byref(found), self._module, name.encode())
            self._functions[name] = found
        return self._functions[name]

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._driver, function)(*arguments)
        if code:
            raise CheckFailedError(
                f"Expected {function} to succeed, but the driver reports error {code}, "
                f"{self._text(code)}: see segship doctor."
            )

    def _text(self, code: int) -> str:
        text = ctypes.c_char_p()
        self._driver.cuGetErrorString(code, ctypes.byref(text))
        return (text.value or b"unknown error").decode("utf-8", "replace")
