"""The GPU a measurement belongs to, asked in a process of its own.

Asking CUDA opens a context, which takes hundreds of MiB on the device until the process ends: the
process that starts the measurements must not hold one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from ..common.errors import SegshipError

_DEVICES = ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu")  # the last two: Jetson
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Gpu:
    """The first visible GPU. `driver_cuda` is the newest CUDA the driver serves.

    Clocks and power limit are those of the moment, None where the driver does not say.
    """

    name: str
    sm: str
    memory_mib: float
    driver: str
    driver_cuda: str
    cuda_runtime: str
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_limit_w: float | None = None


def gpu_is_likely() -> bool:
    """Say whether anything here looks like an NVIDIA GPU with a driver; costs nothing."""
    return bool(shutil.which("nvidia-smi")) or any(Path(item).exists() for item in _DEVICES)


def read_gpu() -> tuple[Gpu | None, str]:
    """Return the GPU CUDA sees, or None and why; ("" where nothing looks like one)."""
    if not gpu_is_likely():
        return None, ""
    command = [sys.executable, "-m", "segship.runtimes.gpu_facts"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
        told = json.loads(done.stdout)
        return (Gpu(**told["gpu"]), "") if "gpu" in told else (None, str(told["error"]))
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired) as error:
        return None, f"asking CUDA failed ({type(error).__name__})"


def ask_cuda() -> Gpu:
    """Return the first visible GPU; opens a CUDA context in this process.

    Raises:
        InputError: no GPU or no driver.
        MissingDependencyError: no CUDA runtime.
        CheckFailedError: CUDA reports an error.
    """
    from .cuda.library import cuda
    from .cuda.nvml import read_gpu_state

    device = cuda().device_info()
    state = read_gpu_state(device.pci_bus_id)
    return Gpu(
        name=device.name,
        sm=device.sm,
        memory_mib=round(device.total_mib),
        driver=state.driver or "unknown",
        driver_cuda=device.driver,
        cuda_runtime=device.runtime,
        sm_clock_mhz=state.sm_clock_mhz,
        memory_clock_mhz=state.memory_clock_mhz,
        power_limit_w=state.power_limit_w,
    )


def main() -> None:
    """Print the GPU, or why there is none, as one line of JSON."""
    try:
        told: dict[str, object] = {"gpu": asdict(ask_cuda())}
    except SegshipError as error:
        told = {"error": str(error)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
