"""What only the driver library says: the device's name and where it is plugged in.

The runtime tells them in a struct whose layout changes between releases; the driver's calls are
plain. Where they fail, the answer is empty: neither is needed to run anything.
"""

from __future__ import annotations

import ctypes
from typing import Any


def device_name(library: str) -> str:
    """Return the first visible device's name, e.g. "NVIDIA H200"; "" where nobody says."""
    return _text(library, "cuDeviceGetName")


def pci_bus_id(library: str) -> str:
    """Return the first visible device's bus id, e.g. "0000:65:00.0"; "" where nobody says."""
    return _text(library, "cuDeviceGetPCIBusId")


def _text(library: str, function: str) -> str:
    """Call `function(char *, int length, CUdevice)` for the first device."""
    try:
        driver: Any = ctypes.CDLL(library)
        driver.cuInit.argtypes = [ctypes.c_uint]
        driver.cuDeviceGet.argtypes = [ctypes.POINTER(ctypes.c_int), ctypes.c_int]
        ask = getattr(driver, function)
    except (OSError, AttributeError):
        return ""
    ask.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
    device, text = ctypes.c_int(), ctypes.create_string_buffer(256)
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(device), 0)
        or ask(text, len(text), device)
    )
    return "" if failed else text.value.decode("utf-8", "replace")
