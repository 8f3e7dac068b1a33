"""What this machine can run, and how to get the rest. Facts only; the command prints them."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile

from ..common.machine import Processor, read_governor, read_processor, usable_cores
from .doctor_gpu import gpu_findings
from .finding import Finding as Finding  # what `doctor` returns: read from here
from .finding import State as State
from .open import available_runtimes

_MIB = 1 << 20
_LOW_MEMORY_MIB = 2048
_LOW_DISK_MIB = 512
# flag in /proc/cpuinfo → what it buys
_FEATURES = (
    ("avx2", "AVX2"),
    ("avx512f", "AVX-512"),
    ("avx512_vnni", "AVX512-VNNI"),
    ("avx_vnni", "AVX-VNNI"),
    ("avx512_bf16", "AVX512-BF16"),
    ("amx_bf16", "AMX-BF16"),
    ("amx_int8", "AMX-INT8"),
    ("asimd", "NEON"),
    ("asimddp", "dot product"),
    ("i8mm", "INT8 matrix"),
    ("bf16", "BF16"),
    ("sve", "SVE"),
)
_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
_INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
# (first version that works, first version not tried); pyproject.toml holds the same limits
_VERSIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...] | None]] = {
    "torch": ((2, 6), (2, 14)),
    "onnxruntime": ((1, 20), None),
    "openvino": ((2025, 0), None),
}
_PYTHONS = ((3, 10), (3, 13))


def doctor() -> list[Finding]:
    """Return what this machine can run, most basic first; imports no runtime."""
    processor = read_processor()
    return [
        _python(),
        Finding("processor", State.OK, processor.name),
        _features(processor),
        _cores(),
        _memory(),
        _governor(),
        *_runtimes(),
        _bf16(processor),
        *gpu_findings(),
        _temporary(),
    ]


def _python() -> Finding:
    found = platform.python_version()
    if _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]:
        return Finding("python", State.OK, found)
    first, last = (".".join(map(str, version)) for version in _PYTHONS)
    return Finding("python", State.NOTE, found, f"segship is tested on Python {first} to {last}.")


def _features(processor: Processor) -> Finding:
    names = [name for flag, name in _FEATURES if flag in processor.flags]
    if not processor.flags:
        return Finding("instructions", State.NOTE, "unknown", "This system does not list them.")
    advice = ""
    if not processor.flags & _INT8_FLAGS:
        advice = "No INT8 dot products: an INT8 model would hardly be faster here."
    return Finding("instructions", State.OK, ", ".join(names) or "baseline", advice)


def _cores() -> Finding:
    usable, logical = usable_cores(), os.cpu_count() or 1
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    found = f"{usable} physical to use, {logical} logical, load {busy:.1f}"
    if busy > usable / 2:
        return Finding("cores", State.NOTE, found, "Busy: stop other work before measuring.")
    return Finding("cores", State.OK, found)


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    free = memory.available // _MIB
    found = f"{memory.total // _MIB} MiB, {free} MiB available"
    if free < _LOW_MEMORY_MIB:
        advice = "Large models at large sizes may not fit: close programs or use a smaller size."
        return Finding("memory", State.NOTE, found, advice)
    return Finding("memory", State.OK, found)


def _governor() -> Finding:
    governor = read_governor()
    if not governor:
        advice = "A virtual machine hides it; its host decides the clock."
        return Finding("clock governor", State.NOTE, "unknown", advice)
    if governor == "performance":
        return Finding("clock governor", State.OK, governor)
    advice = "For steady timings: sudo cpupower frequency-set -g performance."
    return Finding("clock governor", State.NOTE, governor, advice)


def _runtimes() -> list[Finding]:
    return [_runtime(item.name, item.version, item.install) for item in available_runtimes()]


def _runtime(name: str, version: str | None, install: str) -> Finding:
    """Return a runtime's finding; OpenVINO is the only one segship can do without."""
    if version is None:
        state = State.MISSING if name == "openvino" else State.PROBLEM
        return Finding(name, state, "not installed", f"{install}.")
    first, untried = _VERSIONS[name]
    number = _numbers(version)
    if number < first:
        wanted = ".".join(map(str, first))
        return Finding(name, State.PROBLEM, version, f"Older than {wanted}: {install} --upgrade.")
    if untried is not None and number >= untried:
        limit = ".".join(map(str, untried))
        return Finding(name, State.NOTE, version, f"segship is tested below {limit}.")
    return Finding(name, State.OK, version)


def _bf16(processor: Processor) -> Finding:
    if processor.flags & _BF16_FLAGS:
        return Finding("BF16", State.OK, "this CPU computes in BF16 (--precision bf16, OpenVINO)")
    return Finding("BF16", State.MISSING, "none that OpenVINO uses on this CPU", "Use fp32 here.")


def _temporary() -> Finding:
    folder = tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"segship")
            file.flush()
        free = shutil.disk_usage(folder).free // _MIB
    except OSError as error:
        advice = "Free space, or point TMPDIR to a folder that can be written."
        return Finding("temporary files", State.PROBLEM, f"{folder}: {error.strerror}", advice)
    found = f"{folder}, {free} MiB free"
    if free < _LOW_DISK_MIB:
        return Finding("temporary files", State.NOTE, found, "Exports may not fit: free space.")
    return Finding("temporary files", State.OK, found)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version.

    >>> _numbers("2.13.0+cpu")
    (2, 13, 0)
    """
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])
