"""Summaries, and every warning the measuring code makes about itself, each seen firing once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segship.benchmark.environment import host_id, read_environment
from segship.benchmark.machine import CpuClock, machine_warnings
from segship.benchmark.samples import is_steady, sample_warnings, summarise

QUIET = [10.0 + 0.001 * i for i in range(120)]


def test_summary_is_numpys_percentiles_and_keeps_every_sample() -> None:
    values = [3.0, 1.0, 2.0, 10.0]
    got = summarise(values, [99.0])
    assert got.samples_ms == (3.0, 1.0, 2.0, 10.0) and got.warmup_ms == (99.0,)
    assert got.median_ms == 2.5
    assert got.p90_ms == pytest.approx(np.percentile(values, 90), abs=0)
    assert got.p99_ms == pytest.approx(np.percentile(values, 99), abs=0)
    assert got.iqr_ms == pytest.approx(4.75 - 1.75, abs=1e-12)  # float subtraction


def test_quiet_samples_have_nothing_to_say() -> None:
    assert sample_warnings("Latency", summarise(QUIET)) == ()


@pytest.mark.parametrize(
    ("values", "steady", "said"),
    [
        ([10.0, 14.0] * 60, True, "spreads"),
        ([10.0] * 19, True, "has 19 samples: a median wants at least 20"),
        ([10.0] * 99, True, "the 99th percentile wants at least 100"),
        ([10.0] * 120, False, "never reached a steady state"),
    ],
)
def test_each_weakness_is_one_warning(values: list[float], steady: bool, said: str) -> None:
    (warning,) = sample_warnings("Latency", summarise(values), steady=steady)
    assert said in warning and warning.startswith("Latency")


def test_steady_compares_the_last_two_windows() -> None:
    assert is_steady([50.0, 9.0, 1.0, 1.0, 1.02, 1.02], window=2, tolerance=0.03)
    assert not is_steady([50.0, 9.0, 1.0, 1.0, 1.1, 1.1], window=2, tolerance=0.03)
    assert not is_steady([1.0, 1.0, 1.0], window=2, tolerance=0.03)


def test_environment_names_this_machine_and_hashes_its_id() -> None:
    environment = read_environment()
    assert 1 <= environment.cores_physical <= environment.cores_logical
    assert environment.memory_mib > 100
    assert environment.libraries["numpy"] == np.__version__
    assert environment.host_id == host_id(environment.cpu) != host_id("another CPU")
    assert len(environment.host_id) == 16


CLOCK = CpuClock(wall_s=0.0, busy_s=0.0, steal_s=0.0, own_s=0.0, throttled=0, cores=2)


@pytest.mark.parametrize(
    ("busy_before", "end", "governor", "said"),
    [
        (0.5, replace(CLOCK, wall_s=10), "performance", "50 % of the CPU was in use before"),
        (
            0.0,
            replace(CLOCK, wall_s=10, busy_s=14, own_s=10),
            "performance",
            "other processes used 20 %",
        ),
        (0.0, replace(CLOCK, wall_s=10, steal_s=1), "performance", "hypervisor took 5 %"),
        (0.0, replace(CLOCK, wall_s=10, throttled=3), "performance", "throttled for heat"),
        (0.0, replace(CLOCK, wall_s=10), "powersave", "governor is powersave"),
    ],
)
def test_each_disturbance_of_the_machine_is_one_warning(
    busy_before: float, end: CpuClock, governor: str, said: str
) -> None:
    environment = replace(read_environment(), governor=governor)
    (warning,) = machine_warnings(environment, busy_before, CLOCK, end)
    assert said in warning


def test_a_machine_that_only_we_use_is_quiet() -> None:
    environment = replace(read_environment(), governor="performance")
    end = replace(CLOCK, wall_s=10, busy_s=20, own_s=19.5)
    assert machine_warnings(environment, 0.05, CLOCK, end) == ()
