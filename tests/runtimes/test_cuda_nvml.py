"""What the management library says, read from a fake one; None, value by value, where it fails."""

from __future__ import annotations

import ctypes

import pytest

from segship.runtimes.cuda.nvml import GpuState, Nvml, read_gpu_state
from segship.tests.runtimes.fake_cuda import built


@pytest.mark.parametrize("options", [(), ("-DOLD_DRIVER",)], ids=["new driver", "before 510"])
def test_one_look_at_a_gpu(options: tuple[str, ...]) -> None:
    library = built("fake_nvml.c", *options)
    expected = GpuState(
        driver="570.86.15",
        used_mib=3072.0,
        process_mib=321.0,
        power_w=61.5,
        power_limit_w=350.0,
        sm_clock_mhz=1395,
        memory_clock_mhz=2619,
        temperature_c=44,
        throttled=("power limit", "software thermal limit"),
    )
    assert read_gpu_state("0000:65:00.0", library) == expected
    assert read_gpu_state("", library) == expected
    assert ctypes.CDLL(library).fake_opened() == 0


def test_a_process_the_driver_does_not_know_has_no_memory() -> None:
    """In a container the driver may count processes by other numbers."""
    opened = Nvml("", built("fake_nvml.c"))
    assert opened._process_mib(1) == 999.0
    assert opened._process_mib(2**31 - 1) is None
    opened.close()


def test_without_library_or_device_everything_is_unknown() -> None:
    library = built("fake_nvml.c")
    assert read_gpu_state("", "libnone.so") == GpuState()
    assert read_gpu_state("0000:01:00.0", library) == GpuState()
    assert ctypes.CDLL(library).fake_opened() == 0
    # any other library: every function is missing
    assert read_gpu_state("", "libm.so.6") == GpuState()
