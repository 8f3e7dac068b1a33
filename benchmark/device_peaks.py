"""What a GPU can do at most: peaks by precision and memory bandwidth, one YAML file each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.errors import InputError

_FOLDER = Path(__file__).resolve().parents[1] / "profiles" / "devices"
_TERA, _GIGA = 1e12, 1e9


@dataclass(frozen=True)
class DevicePeaks:
    """Dense peaks in operations per second (a multiply and an add are two) and bytes per second.

    A precision that no source gives is missing. `match` is found in the name the driver reports.
    """

    name: str
    title: str
    match: str
    peaks: dict[str, float]
    bytes_per_s: float
    power_w: float | None
    sources: tuple[str, ...]

    def flops(self, precision: str) -> float | None:
        """Return operations per second in "fp32", "fp16" or "int8", None where unknown."""
        return self.peaks.get(precision)


def device_names() -> tuple[str, ...]:
    """Return the names of the devices whose peaks are known."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def read_peaks(name: str) -> DevicePeaks:
    """Return the peaks of the device called `name`.

    Raises:
        InputError: no such device.
    """
    if name not in device_names():
        raise InputError(f"Expected a device of {', '.join(device_names())}, but got {name!r}.")
    import yaml

    values: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    tera = {"fp32": "fp32_tflops", "fp16": "fp16_tflops", "int8": "int8_tops"}
    return DevicePeaks(
        name,
        values["title"],
        values["match"],
        {key: _TERA * values[field] for key, field in tera.items() if field in values},
        _GIGA * values["bandwidth_gb_s"],
        values.get("power_w"),
        tuple(values["sources"]),
    )


def peaks_of_gpu(gpu: str) -> DevicePeaks | None:
    """Return the peaks of the GPU the driver calls `gpu`, None where nobody wrote them down.

    >>> (found := peaks_of_gpu("NVIDIA H200")) and found.name
    'h200'
    >>> peaks_of_gpu("NVIDIA RTX 9999") is None
    True
    """
    known = map(read_peaks, device_names())
    return next((item for item in known if re.search(item.match, gpu, re.IGNORECASE)), None)
