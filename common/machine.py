"""The processor this process runs on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True)
class Processor:
    """Name and feature flags as the kernel spells them; no flags where it tells none."""

    name: str
    flags: frozenset[str]


def read_processor(cpuinfo: Path = _CPUINFO) -> Processor:
    """Return the first processor `cpuinfo` lists, or what Python knows of it."""
    found: dict[str, str] = {}
    for line in read_text(cpuinfo).splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    name = found.get("model name") or platform.processor() or platform.machine() or "unknown"
    return Processor(name, frozenset(found.get("flags", found.get("Features", "")).split()))


def usable_cores() -> int:
    """Return the number of physical cores this process may use (its affinity counts)."""
    import psutil

    logical = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    return max(1, min(psutil.cpu_count(logical=False) or logical, allowed))


def read_governor() -> str:
    """Return how the kernel chooses the clock ("performance", …), "" where it does not say."""
    return read_text(_GOVERNOR)


def read_text(path: Path) -> str:
    """Return the stripped text of a small system file, "" where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
