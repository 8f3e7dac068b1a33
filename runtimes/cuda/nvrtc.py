"""CUDA source compiled on the machine it runs on, by libnvrtc through ctypes; results are kept.

A binary for the GPU at hand where this NVRTC knows its architecture, else PTX of the newest older
one, which the driver compiles. cuda-python adds nothing here: its `nvrtc` module calls the same
library, which comes with the wheel nvidia-cuda-nvrtc, with a CUDA build of torch, with the CUDA
toolkit and with JetPack. Names and signatures: https://docs.nvidia.com/cuda/nvrtc/index.html
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...common.errors import CheckFailedError, InputError, MissingDependencyError, SegshipError
from ...common.files import write_bytes
from ..cache import cache_root

OPTIONS = ("--std=c++14", "--fmad=false", "--ftz=false", "--prec-div=true")
_SONAMES = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so")
_SIGNATURES: dict[str, tuple[type, ...]] = {
    "nvrtcVersion": (ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)),
    "nvrtcGetNumSupportedArchs": (ctypes.POINTER(ctypes.c_int),),
    "nvrtcGetSupportedArchs": (ctypes.POINTER(ctypes.c_int),),
    "nvrtcCreateProgram": (
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_char_p),
        ctypes.POINTER(ctypes.c_char_p),
    ),
    "nvrtcCompileProgram": (ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)),
    "nvrtcDestroyProgram": (ctypes.POINTER(ctypes.c_void_p),),
    **{
        f"nvrtcGet{name}": (ctypes.c_void_p, ctypes.c_void_p)
        for name in ("PTX", "CUBIN", "ProgramLog")
    },
    **{
        f"nvrtcGet{name}Size": (ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t))
        for name in ("PTX", "CUBIN", "ProgramLog")
    },
}


@dataclass(frozen=True)
class Target:
    """What to compile for: `--gpu-architecture`, and whether that gives a binary or PTX."""

    architecture: str
    binary: bool


class Nvrtc:
    """libnvrtc 11.2 or newer."""

    def __init__(self, path: str) -> None:
        """Load the library at `path`.

        Raises:
            MissingDependencyError: it cannot be loaded, or is too old to name its architectures.
        """
        try:
            self._library = ctypes.CDLL(path)
            for name, arguments in _SIGNATURES.items():
                function = getattr(self._library, name)
                function.argtypes, function.restype = arguments, ctypes.c_int
        except (OSError, AttributeError) as error:
            raise MissingDependencyError(
                f"Expected NVRTC 11.2 or newer, but got {error}: "
                "pip install nvidia-cuda-nvrtc-cu12 (CUDA 13: nvidia-cuda-nvrtc)."
            ) from error
        self._library.nvrtcGetErrorString.argtypes = (ctypes.c_int,)
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
        self.path = path

    def version(self) -> tuple[int, int]:
        """Return major and minor."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return major.value, minor.value

    def architectures(self) -> tuple[int, ...]:
        """Return what it compiles for, ascending: 75, 80, 86, …."""
        count = ctypes.c_int()
        self._call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", found)
        return tuple(sorted(found))

    def compile(self, source: bytes, name: str, target: Target) -> bytes:
        """Return the binary, or the PTX with its final zero, of `source`.

        Raises:
            CheckFailedError: the compiler refused, with the first line of what it said.
        """
        program = ctypes.c_void_p()
        self._call(
            "nvrtcCreateProgram", ctypes.byref(program), source, name.encode(), 0, None, None
        )
        try:
            options = [f"--gpu-architecture={target.architecture}", *OPTIONS]
            packed = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            code = self._library.nvrtcCompileProgram(program, len(options), packed)
            if code:
                log = self._text(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
                said = (log.strip().splitlines() or [self._message(code)])[0]
                raise CheckFailedError(
                    f"Expected {name} to compile for {target.architecture}, but NVRTC "
                    f"{'.'.join(map(str, self.version()))} says: {said}."
                )
            return self._text(program, "CUBIN" if target.binary else "PTX")
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, buffer)
        return buffer.raw

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise CheckFailedError(f"Expected {name} to succeed, but got {self._message(code)}.")

    def _message(self, code: int) -> str:
        text: bytes = self._library.nvrtcGetErrorString(code)
        return text.decode(errors="replace")


def target_for(capability: str, architectures: Sequence[int]) -> Target:
    """Return what to compile for on a GPU of compute capability `capability`, e.g. "8.7".

    >>> target_for("8.7", (75, 80, 87)), target_for("12.0", (75, 80, 90))
    (Target(architecture='sm_87', binary=True), Target(architecture='compute_90', binary=False))

    Raises:
        InputError: every architecture is newer than the GPU.
    """
    major, _, minor = capability.partition(".")
    wanted = 10 * int(major) + int(minor or 0)
    if wanted in architectures:
        return Target(f"sm_{wanted}", True)
    older = [item for item in architectures if item < wanted]
    if not older:
        raise InputError(
            f"Expected an NVRTC that compiles for compute capability {capability}, but its oldest "
            f"is {min(architectures) / 10}: install an older one, e.g. nvidia-cuda-nvrtc-cu12."
        )
    return Target(f"compute_{max(older)}", False)


def compiled(source: bytes, name: str, capability: str, nvrtc: Nvrtc) -> bytes:
    """Return `source` compiled for a GPU of `capability`; at most once per source and NVRTC.

    Kept in the user's cache folder; a file there that is not whole is compiled again.

    Raises:
        InputError: it does not compile for that GPU.
        CheckFailedError: the source does not compile.
    """
    target = target_for(capability, nvrtc.architectures())
    parts = (target.architecture, *OPTIONS, *map(str, nvrtc.version()))
    key = hashlib.sha256("\0".join(parts).encode() + b"\0" + source).hexdigest()[:32]
    kept = cache_root() / "kernels" / f"{Path(name).stem}-{target.architecture}-{key}"
    image = _read(kept)
    if image is None:
        image = nvrtc.compile(source, name, target)
        with contextlib.suppress(OSError, SegshipError):  # the next process compiles again
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(kept, hashlib.sha256(image).digest() + image)
    return image


def find_nvrtc(driver: str = "") -> Nvrtc:
    """Return the first libnvrtc whose binaries a driver for CUDA `driver`, e.g. "12.4", takes.

    A binary runs on drivers of the same major version and later ones.
    https://docs.nvidia.com/deploy/cuda-compatibility/

    Raises:
        MissingDependencyError: there is none, or only newer ones.
    """
    newest = int(driver.partition(".")[0] or 0)
    refused = ""
    for path in library_candidates():
        with contextlib.suppress(MissingDependencyError):
            found = Nvrtc(path)
            major, minor = found.version()
            if not newest or major <= newest:
                return found
            refused = refused or f"only {major}.{minor}, too new for the driver's CUDA {driver}"
    raise MissingDependencyError(
        f"Expected libnvrtc to compile the GPU post-processing, but found {refused or 'none'}: "
        "pip install nvidia-cuda-nvrtc-cu12 (CUDA 13: nvidia-cuda-nvrtc)."
    )


def library_candidates() -> list[str]:
    """Return names and paths libnvrtc may have: NVIDIA's wheels, the loader's, the toolkits'."""
    wheels = [
        found
        for folder in dict.fromkeys(sys.path)
        for found in glob.glob(f"{glob.escape(folder)}/nvidia/c*/lib/libnvrtc.so*")
    ]
    homes = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")
    toolkits = [str(Path(home, "lib64", "libnvrtc.so")) for home in homes if home]
    return list(
        dict.fromkeys((*sorted(wheels, key=os.path.basename, reverse=True), *_SONAMES, *toolkits))
    )


def _read(path: Path) -> bytes | None:
    """Return what was kept, or None where there is nothing or it is damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, image = data[:32], data[32:]
    return image if hashlib.sha256(image).digest() == digest else None
