"""What the NVIDIA driver's management library says of a GPU: memory, power, clocks, throttling.

Through ctypes: libnvidia-ml comes with the driver, and nvidia-ml-py only wraps the same library.
Function names and struct layouts: nvml.h of CUDA 12. A board without it (Jetson has only a part)
answers None, value by value.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass
from typing import Any

from .library import MIB

LIBRARY = "libnvidia-ml.so.1"
_SM_CLOCK, _MEMORY_CLOCK, _TEMPERATURE = 1, 2, 0  # nvmlClockType_t, nvmlTemperatureSensors_t
_NOT_AVAILABLE = 2**64 - 1
_MAX_PROCESSES = 256
_REASONS = {  # nvmlClocksThrottleReason…; 1 (idle) and 2 (clocks set by the user) slow nobody down
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal limit",
    0x40: "hardware thermal limit",
    0x80: "external power brake",
    0x100: "display clock",
    0x200: "board limit",
    0x400: "reliability limit",
}


@dataclass(frozen=True)
class GpuState:
    """One look at a GPU; None where the driver does not say. `throttled` names the reasons."""

    driver: str | None = None
    used_mib: float | None = None
    process_mib: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    throttled: tuple[str, ...] | None = None


class Nvml:
    """An open management library and one device of it."""

    def __init__(self, pci_bus_id: str = "", library: str = LIBRARY) -> None:
        """Open the device with this bus id (`DeviceInfo.pci_bus_id`), or the first one.

        Raises:
            OSError: there is no such library, driver or device.
        """
        self._library: Any = ctypes.CDLL(library)
        if self._code("nvmlInit_v2"):
            raise OSError(f"{library} finds no driver")
        self._device = ctypes.c_void_p()
        place = ctypes.byref(self._device)
        if pci_bus_id:
            failed = self._code("nvmlDeviceGetHandleByPciBusId_v2", pci_bus_id.encode(), place)
        else:
            failed = self._code("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(0), place)
        if failed:
            self.close()
            raise OSError(f"{library} knows no such device")

    def state(self) -> GpuState:
        """Return what the driver says now."""
        memory = (ctypes.c_ulonglong * 3)()  # total, free, used
        reasons = self._number("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong())
        seen = not self._ask("nvmlDeviceGetMemoryInfo", ctypes.byref(memory))
        return GpuState(
            driver=self._driver(),
            used_mib=memory[2] / MIB if seen else None,
            process_mib=self._process_mib(os.getpid()),
            power_w=_thousandth(self._number("nvmlDeviceGetPowerUsage")),
            power_limit_w=_thousandth(self._number("nvmlDeviceGetEnforcedPowerLimit")),
            sm_clock_mhz=self._number("nvmlDeviceGetClockInfo", None, _SM_CLOCK),
            memory_clock_mhz=self._number("nvmlDeviceGetClockInfo", None, _MEMORY_CLOCK),
            temperature_c=self._number("nvmlDeviceGetTemperature", None, _TEMPERATURE),
            throttled=None if reasons is None else throttle_reasons(reasons),
        )

    def close(self) -> None:
        """Let go of the library."""
        self._code("nvmlShutdown")

    def _process_mib(self, pid: int) -> float | None:
        """Device memory of a process; None where the driver sees other process numbers than we."""
        count = ctypes.c_uint(_MAX_PROCESSES)
        found = (_Process * _MAX_PROCESSES)()
        for name in ("nvmlDeviceGetComputeRunningProcesses_v3", _PROCESSES_BEFORE_510):
            if not self._ask(name, ctypes.byref(count), found):
                break
        else:
            return None
        used = [item.used_bytes for item in found[: count.value] if item.pid == pid]
        return used[0] / MIB if used and used[0] != _NOT_AVAILABLE else None

    def _driver(self) -> str | None:
        text = ctypes.create_string_buffer(96)
        failed = self._code("nvmlSystemGetDriverVersion", text, ctypes.c_uint(len(text)))
        return None if failed else text.value.decode("utf-8", "replace")

    def _number(self, function: str, value: Any = None, *inputs: int) -> int | None:
        """Return what `function(device, inputs…, value *)` writes."""
        value = ctypes.c_uint() if value is None else value
        arguments = [ctypes.c_int(item) for item in inputs]
        failed = self._ask(function, *arguments, ctypes.byref(value))
        return None if failed else int(value.value)

    def _ask(self, function: str, *arguments: Any) -> int:
        return self._code(function, self._device, *arguments)

    def _code(self, function: str, *arguments: Any) -> int:
        """Call a function; a library that lacks it answers as one that failed."""
        try:
            return int(getattr(self._library, function)(*arguments))
        except AttributeError:
            return -1


class _Process(ctypes.Structure):
    """nvmlProcessInfo_t since driver 470; _v2 and _v3 of the call share it."""

    _fields_ = [
        ("pid", ctypes.c_uint),
        ("used_bytes", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


_PROCESSES_BEFORE_510 = "nvmlDeviceGetComputeRunningProcesses_v2"


def read_gpu_state(pci_bus_id: str = "", library: str = LIBRARY) -> GpuState:
    """Return one look at a GPU; every value None where there is no management library."""
    with contextlib.suppress(OSError):
        opened = Nvml(pci_bus_id, library)
        try:
            return opened.state()
        finally:
            opened.close()
    return GpuState()


def throttle_reasons(bits: int) -> tuple[str, ...]:
    """Return why the clocks are lower than they could be.

    >>> throttle_reasons(0x4 | 0x40 | 0x1)
    ('power limit', 'hardware thermal limit')
    """
    return tuple(word for bit, word in _REASONS.items() if bits & bit)


def _thousandth(value: int | None) -> float | None:
    return None if value is None else value / 1000
