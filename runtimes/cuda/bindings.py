"""Two ways into the CUDA runtime: libcudart through ctypes, and NVIDIA's own cuda-python.

The functions below have the same symbols and signatures in libcudart 11.8, 12.9 and 13.5 (checked
with `nm` and the headers of NVIDIA's wheels); what changed between them is left out on purpose:
`cudaGraphInstantiate` (another signature before 12; `…WithFlags` is there since 11.4) and the
struct of `cudaGetDeviceProperties`. cuda-python holds a runtime of its own, linked statically, so
it also works where no libcudart lies around.
"""

from __future__ import annotations

import ctypes
import glob
import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

INT, UINT, SIZE = ctypes.c_int, ctypes.c_uint, ctypes.c_size_t
POINTER, FLOAT, FLAGS = ctypes.c_void_p, ctypes.c_float, ctypes.c_ulonglong
_SONAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so")
_FOLDERS = ("lib64", "lib", "targets/aarch64-linux/lib", "targets/x86_64-linux/lib")


@dataclass(frozen=True)
class Signature:
    """What a function takes and returns; `enums` names cuda-python's type of an input."""

    inputs: tuple[Any, ...] = ()
    outputs: tuple[Any, ...] = ()
    outputs_last: bool = False
    enums: tuple[tuple[int, str], ...] = ()


FUNCTIONS = {
    "cudaGetDeviceCount": Signature((), (INT,)),
    "cudaSetDevice": Signature((INT,)),
    "cudaRuntimeGetVersion": Signature((), (INT,)),
    "cudaDriverGetVersion": Signature((), (INT,)),
    "cudaDeviceGetAttribute": Signature((INT, INT), (INT,), enums=((0, "cudaDeviceAttr"),)),
    "cudaGetLastError": Signature(),
    "cudaMemGetInfo": Signature((), (SIZE, SIZE)),
    "cudaMalloc": Signature((SIZE,), (POINTER,)),
    "cudaFree": Signature((POINTER,)),
    "cudaHostAlloc": Signature((SIZE, UINT), (POINTER,)),
    "cudaFreeHost": Signature((POINTER,)),
    "cudaMemcpyAsync": Signature(
        (POINTER, POINTER, SIZE, INT, POINTER), enums=((3, "cudaMemcpyKind"),)
    ),
    "cudaStreamCreateWithFlags": Signature((UINT,), (POINTER,)),
    "cudaStreamSynchronize": Signature((POINTER,)),
    "cudaStreamDestroy": Signature((POINTER,)),
    "cudaStreamBeginCapture": Signature((POINTER, INT), enums=((1, "cudaStreamCaptureMode"),)),
    "cudaStreamEndCapture": Signature((POINTER,), (POINTER,), outputs_last=True),
    "cudaGraphInstantiateWithFlags": Signature((POINTER, FLAGS), (POINTER,)),
    "cudaGraphLaunch": Signature((POINTER, POINTER)),
    "cudaGraphDestroy": Signature((POINTER,)),
    "cudaGraphExecDestroy": Signature((POINTER,)),
    "cudaEventCreateWithFlags": Signature((UINT,), (POINTER,)),
    "cudaEventRecord": Signature((POINTER, POINTER)),
    "cudaEventElapsedTime": Signature((POINTER, POINTER), (FLOAT,)),
    "cudaEventDestroy": Signature((POINTER,)),
}


class Binding(Protocol):
    """A CUDA runtime: handles and addresses are integers, a code of 0 is success."""

    name: str

    def call(self, function: str, *inputs: int) -> tuple[int, tuple[Any, ...]]:
        """Call a function of `FUNCTIONS`; return its code and its outputs."""

    def error_text(self, code: int) -> str:
        """Return what the runtime says about an error code."""


class CtypesBinding:
    """A shared libcudart; every argument is declared, so that pointers keep their 64 bits."""

    def __init__(self, library: str) -> None:
        """Load `library`.

        Raises:
            OSError: it cannot be loaded.
            AttributeError: it lacks a function, as releases before CUDA 11.4 do.
        """
        self.name = library
        handle = ctypes.CDLL(library)
        self._functions = {name: _declared(handle, name) for name in FUNCTIONS}
        self._text = handle.cudaGetErrorString
        self._text.argtypes, self._text.restype = [INT], ctypes.c_char_p

    def call(self, function: str, *inputs: int) -> tuple[int, tuple[Any, ...]]:
        """Call a function of `FUNCTIONS`; return its code and its outputs."""
        signature = FUNCTIONS[function]
        outputs = [kind() for kind in signature.outputs]
        places = [ctypes.byref(item) for item in outputs]
        arguments = (*inputs, *places) if signature.outputs_last else (*places, *inputs)
        code = self._functions[function](*arguments)
        return code, tuple(item.value or 0 for item in outputs)

    def error_text(self, code: int) -> str:
        """Return what the runtime says about an error code."""
        return _decoded(self._text(code))


class CudaPythonBinding:
    """`cuda.bindings.runtime`: its functions return the code and the outputs as one tuple."""

    def __init__(self, runtime: Any = None) -> None:
        """Import it, or take the module given.

        Raises:
            ImportError: cuda-python is not installed, or only half of it.
        """
        self._runtime = runtime or importlib.import_module("cuda.bindings.runtime")
        self.name = "cuda-python"

    def call(self, function: str, *inputs: int) -> tuple[int, tuple[Any, ...]]:
        """Call a function of `FUNCTIONS`; return its code and its outputs."""
        arguments: list[Any] = list(inputs)
        for place, kind in FUNCTIONS[function].enums:
            arguments[place] = getattr(self._runtime, kind)(arguments[place])
        code, *outputs = getattr(self._runtime, function)(*arguments)
        return int(code), tuple(_plain(item) for item in outputs)

    def error_text(self, code: int) -> str:
        """Return what the runtime says about an error code."""
        kind = self._runtime.cudaError_t
        return _decoded(self._runtime.cudaGetErrorString(kind(code))[1])


def installed_bindings() -> Iterator[Binding]:
    """Yield every CUDA runtime this process can load, cuda-python first."""
    try:
        yield CudaPythonBinding()
    except (ImportError, OSError, RuntimeError):
        pass  # optional; the libraries below do the same
    for library in library_candidates():
        try:
            yield CtypesBinding(library)
        except (OSError, AttributeError):
            continue


def library_candidates() -> list[str]:
    """Return names and paths libcudart may have: NVIDIA's wheels, the loader's, the toolkits'."""
    wheels = [
        found
        for folder in dict.fromkeys(sys.path)
        for found in glob.glob(f"{glob.escape(folder)}/nvidia/c*/lib/libcudart.so*")
    ]
    roots = [os.environ.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH")]
    roots += ["/usr/local/cuda", *sorted(glob.glob("/usr/local/cuda-*"), reverse=True)]
    toolkits = [
        str(Path(root, folder, name).resolve())  # toolkits link to themselves many times
        for root in roots
        if root
        for folder in _FOLDERS
        for name in _SONAMES
        if Path(root, folder, name).is_file()
    ]
    return list(dict.fromkeys((*sorted(wheels), *_SONAMES, *toolkits)))


def _declared(handle: ctypes.CDLL, name: str) -> Any:
    signature = FUNCTIONS[name]
    outputs = [ctypes.POINTER(kind) for kind in signature.outputs]
    inputs = list(signature.inputs)
    function = getattr(handle, name)
    function.argtypes = inputs + outputs if signature.outputs_last else outputs + inputs
    function.restype = INT
    return function


def _plain(value: Any) -> Any:
    """Return handles and addresses as integers, times as floats, nothing as 0."""
    if value is None:
        return 0
    return value if isinstance(value, float) else int(value)


def _decoded(text: bytes | None) -> str:
    return (text or b"unknown error").decode("utf-8", "replace")
