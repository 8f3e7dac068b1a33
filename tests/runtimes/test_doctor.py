"""What doctor says follows from the machine it is given."""

from __future__ import annotations

import platform
import re
import tempfile
from pathlib import Path

import onnxruntime
import pytest

from segship.common.machine import Processor, read_processor, usable_cores
from segship.runtimes import doctor as doctor_module
from segship.runtimes.doctor import Finding, State, doctor
from segship.runtimes.open import RuntimeStatus


def _by_topic() -> dict[str, Finding]:
    return {finding.topic: finding for finding in doctor()}


def test_names_this_machine() -> None:
    found = _by_topic()
    assert found["python"].found == platform.python_version()
    assert found["processor"].found == read_processor().name != ""
    assert found["cores"].found.startswith(f"{usable_cores()} physical")
    assert found["onnxruntime"] == Finding("onnxruntime", State.OK, onnxruntime.__version__)
    assert found["temporary files"].state is not State.PROBLEM
    assert all("\n" not in item.found + item.advice for item in found.values())


@pytest.mark.parametrize(
    ("name", "version", "state", "advice"),
    [
        ("openvino", None, State.MISSING, "pip install me."),
        ("torch", None, State.PROBLEM, "pip install me."),
        ("onnxruntime", "1.16.3", State.PROBLEM, "Older than 1.20: pip install me --upgrade."),
        ("torch", "2.14.0+cpu", State.NOTE, "segship is tested below 2.14."),
        ("torch", "2.13.1+cpu", State.OK, ""),
        ("openvino", "2026.4.1", State.OK, ""),
    ],
)
def test_a_runtime_that_is_missing_old_or_untried(
    name: str, version: str | None, state: State, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = RuntimeStatus(name, version, "pip install me")
    monkeypatch.setattr(doctor_module, "available_runtimes", lambda: (status,))
    found = _by_topic()[name]
    assert (found.state, found.advice) == (state, advice)


def test_the_versions_are_those_of_the_package(repository: Path) -> None:
    text = (repository / "pyproject.toml").read_text()
    for name, (first, untried) in doctor_module._VERSIONS.items():
        limits = re.findall(rf'"{name}>=([\d.]+)(?:,<([\d.]+))?"', text)
        expected = (".".join(map(str, first)), ".".join(map(str, untried or ())))
        assert limits == [expected], name


def test_reads_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: Some Xeon\nflags\t\t: fpu avx2 avx512_vnni amx_bf16\n"
        "\nprocessor\t: 1\nmodel name\t: Other\nflags\t\t: fpu\n"
    )
    processor = read_processor(cpuinfo)
    assert processor == Processor(
        "Some Xeon", frozenset(("fpu", "avx2", "avx512_vnni", "amx_bf16"))
    )
    monkeypatch.setattr(doctor_module, "read_processor", lambda: processor)
    found = _by_topic()
    assert found["instructions"] == Finding(
        "instructions", State.OK, "AVX2, AVX512-VNNI, AMX-BF16", ""
    )
    assert found["BF16"].state is State.OK


def test_an_old_processor_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor_module, "read_processor", lambda: Processor("Old", frozenset(("fpu", "avx2")))
    )
    found = _by_topic()
    assert "INT8" in found["instructions"].advice
    assert (found["BF16"].state, found["BF16"].advice) == (State.MISSING, "Use fp32 here.")


@pytest.mark.parametrize(
    ("governor", "state"),
    [("performance", State.OK), ("powersave", State.NOTE), ("", State.NOTE)],
)
def test_the_governor(governor: str, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "read_governor", lambda: governor)
    found = _by_topic()["clock governor"]
    assert found.state is state and ("cpupower" in found.advice) == (governor == "powersave")


def test_a_temporary_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    found = _by_topic()["temporary files"]
    assert found.state is State.PROBLEM and "TMPDIR" in found.advice
