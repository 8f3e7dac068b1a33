"""Whether the machine was quiet enough to believe a time measured on it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from .record import Environment

BUSY_BEFORE = 0.15  # share of all cores used by anyone just before the start
BUSY_DURING = 0.10  # share of all cores used by others while measuring
STEAL_LIMIT = 0.02  # share of all cores the hypervisor took away
_CPUS = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class CpuClock:
    """CPU seconds so far: of everybody, stolen, of us, and throttling events."""

    wall_s: float
    busy_s: float
    steal_s: float
    own_s: float
    throttled: int
    cores: int


def read_clock(pids: Iterable[int]) -> CpuClock:
    """Return the counters now; `pids` are the processes that count as ours (dead ones as zero)."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "guest", 0.0)
    idle += getattr(times, "guest_nice", 0.0)
    steal = getattr(times, "steal", 0.0)
    own = 0.0
    for pid in pids:
        try:
            used = psutil.Process(pid).cpu_times()
        except psutil.Error:
            continue
        own += used.user + used.system
    busy = sum(times) - idle - steal
    cores = psutil.cpu_count() or 1
    return CpuClock(time.perf_counter(), busy, steal, own, _throttle_events(), cores)


def busy_share(seconds: float = 0.3) -> float:
    """Return the share (0..1) of all cores in use during the next `seconds`."""
    return float(psutil.cpu_percent(interval=seconds)) / 100


def machine_warnings(
    environment: Environment, busy_before: float, start: CpuClock, end: CpuClock
) -> tuple[str, ...]:
    """Return what the machine did that can spoil times taken between `start` and `end`."""
    found = []
    if busy_before > BUSY_BEFORE:
        found.append(
            f"Busy machine: {100 * busy_before:.0f} % of the CPU was in use before the start "
            f"(load average {environment.load_average})."
        )
    capacity = max(1e-9, (end.wall_s - start.wall_s) * end.cores)
    others = ((end.busy_s - start.busy_s) - (end.own_s - start.own_s)) / capacity
    steal = (end.steal_s - start.steal_s) / capacity
    if others > BUSY_DURING:
        found.append(
            f"Busy machine: other processes used {100 * others:.0f} % of the CPU while measuring."
        )
    if steal > STEAL_LIMIT:
        found.append(f"The hypervisor took {100 * steal:.0f} % of the CPU away while measuring.")
    if end.throttled > start.throttled:
        found.append("The CPU was throttled for heat while measuring: let it cool down.")
    if environment.governor == "powersave":
        found.append("The CPU governor is powersave: clocks may change while measuring.")
    return tuple(found)


def _throttle_events() -> int:
    """Return the sum of the kernel's thermal throttle counters, 0 where there are none."""
    total = 0
    for path in _CPUS.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"):
        try:
            total += int(path.read_text())
        except (OSError, ValueError):
            continue
    return total
