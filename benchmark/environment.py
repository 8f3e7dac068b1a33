"""The machine a measurement belongs to."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

from ..common.machine import read_governor, read_processor, read_text, usable_cores
from ..runtimes.gpu_facts import read_gpu
from .record import Environment

_LIBRARIES = tuple(
    "numpy nvidia-modelopt onnx onnxruntime onnxruntime-gpu openvino pillow safetensors tensorrt "
    "tensorrt-cu12 tensorrt-cu13 torch torch-tensorrt".split()
)
_FLAGS = tuple(
    "avx2 fma f16c avx512f avx512_vnni avx512_bf16 avx_vnni amx_bf16 amx_int8 "
    "asimd asimddp bf16 i8mm sve".split()
)


def read_environment() -> Environment:
    """Return what this machine is and how busy it is now; unreadable parts are "unknown"."""
    processor = read_processor()
    return Environment(
        host_id=host_id(processor.name),
        cpu=processor.name,
        cpu_flags=tuple(flag for flag in _FLAGS if flag in processor.flags),
        cores_physical=usable_cores(),
        cores_logical=os.cpu_count() or 1,
        memory_mib=psutil.virtual_memory().total >> 20,
        os=platform.platform(),
        python=platform.python_version(),
        governor=read_governor() or "unknown",
        load_average=round(psutil.getloadavg()[0], 2),
        libraries=library_versions(),
        git_commit=git_commit(),
        gpu=read_gpu()[0],
    )


def host_id(cpu: str) -> str:
    """Return 16 hexadecimal digits that stay the same for this machine and CPU.

    The machine id is hashed, never stored: a record may be shared.
    """
    machine = read_text(Path("/etc/machine-id")) or read_text(Path("/var/lib/dbus/machine-id"))
    text = f"segship\0{machine or platform.node()}\0{cpu}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def library_versions() -> dict[str, str]:
    """Return name → version of the installed libraries that can change a number here."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str:
    """Return the commit of segship's checkout, "+changes" behind it if modified, "" without one."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return ""
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if commit and changed else commit or ""


def segship_version() -> str:
    """Return the installed version, or "0" where segship runs without being installed."""
    try:
        return metadata.version("segship")
    except metadata.PackageNotFoundError:
        return "0"


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
