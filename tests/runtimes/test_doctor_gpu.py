"""What doctor says of GPUs follows from what is installed and what CUDA answers."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from segship.common.errors import MissingDependencyError
from segship.runtimes import doctor_gpu as module
from segship.runtimes.doctor import doctor
from segship.runtimes.doctor_gpu import gpu_findings
from segship.runtimes.finding import Finding, State
from segship.runtimes.gpu_facts import Gpu

GPU = Gpu("NVIDIA T4", "7.5", 15360, "550.54", "12.4", "12.9")
Installed = Callable[..., None]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Installed:
    """A function: the distributions that are installed, name=version; no other ones."""

    def set_to(**packages: str) -> None:
        known = {name.replace("_", "-"): version for name, version in packages.items()}

        def version(name: str) -> str:
            if name not in known:
                raise metadata.PackageNotFoundError(name)
            return known[name]

        monkeypatch.setattr("importlib.metadata.version", version)

    return set_to


def _found(monkeypatch: pytest.MonkeyPatch, gpu: Gpu | None = None, why: str = "") -> list[Finding]:
    monkeypatch.setattr(module, "read_gpu", lambda: (gpu, why))
    found = gpu_findings()
    assert all("\n" not in item.found + item.advice for item in found)
    return found


def _one(found: list[Finding], topic: str) -> Finding:
    (item,) = (item for item in found if item.topic == topic)
    return item


def test_doctor_names_everything_a_gpu_needs() -> None:
    topics = [item.topic for item in doctor()]
    for topic in ("NVIDIA GPU", "CUDA runtime", "NVRTC", "tensorrt", "torch on CUDA"):
        assert topics.count(topic) == 1
    assert {"torch-tensorrt", "onnxruntime on GPUs"} <= set(topics)


def test_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    said = _one(_found(monkeypatch, GPU), "NVIDIA GPU")
    told = "NVIDIA T4, SM 7.5, 15360 MiB, driver 550.54 (CUDA 12.4)"
    assert said == Finding("NVIDIA GPU", State.OK, told)


def test_a_gpu_that_cuda_cannot_use_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    said = _one(_found(monkeypatch, None, "Expected a driver."), "NVIDIA GPU")
    assert (said.state, said.advice) == (State.NOTE, "Expected a driver.")
    said = _one(_found(monkeypatch), "NVIDIA GPU")
    assert (said.state, said.found) == (State.MISSING, "none seen")


def test_nothing_installed_is_missing_and_says_how(
    monkeypatch: pytest.MonkeyPatch, installed: Installed, tmp_path: Path
) -> None:
    installed()
    monkeypatch.setattr("segship.runtimes.cuda.bindings.installed_bindings", lambda: iter(()))
    monkeypatch.setattr("segship.runtimes.cuda.nvrtc.find_nvrtc", _no_nvrtc)
    monkeypatch.setattr(module, "_package_folder", lambda _: tmp_path)
    found = _found(monkeypatch)
    assert {item.state for item in found} == {State.MISSING}
    assert [item.advice for item in found if "install" not in item.advice] == [found[0].advice]


def _no_nvrtc() -> None:
    raise MissingDependencyError("Expected NVRTC.")


def test_the_cuda_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Found:
        name = "libcudart.so.12"

        def version(self) -> tuple[int, int]:
            return (12, 9)

    name = "segship.runtimes.cuda.bindings.installed_bindings"
    monkeypatch.setattr(name, lambda: iter((Found(), Found())))
    monkeypatch.setattr("segship.runtimes.cuda.nvrtc.find_nvrtc", Found)
    found = _found(monkeypatch)
    assert _one(found, "CUDA runtime") == Finding("CUDA runtime", State.OK, "libcudart.so.12")
    assert _one(found, "NVRTC") == Finding("NVRTC", State.OK, "12.9")


@pytest.mark.parametrize(
    ("version", "generation", "sm"), [("8.6.1", "8.6", "7.5"), ("11.4.0", "11", "7.5")]
)
def test_tensorrt_is_told_with_its_generation(
    version: str,
    generation: str,
    sm: str,
    monkeypatch: pytest.MonkeyPatch,
    installed: Installed,
) -> None:
    from segship.runtimes.tensorrt.versions import known_bad

    installed(tensorrt=version)
    found = _found(monkeypatch, GPU)
    said = _one(found, "tensorrt")
    assert (
        said.state is State.OK and said.found == f"{version} (built for as TensorRT {generation})"
    )
    defects = [item.found for item in found if item.topic == f"tensorrt {version}"]
    assert tuple(defects) == known_bad(version, sm=sm)


def test_known_defects_are_notes_with_their_report(
    monkeypatch: pytest.MonkeyPatch, installed: Installed
) -> None:
    installed(tensorrt_cu12="10.3.0")
    defects = [item for item in _found(monkeypatch, GPU) if item.topic == "tensorrt 10.3.0"]
    assert defects and {item.state for item in defects} == {State.NOTE}
    assert any("issues/4723" in item.found for item in defects)


def test_a_tensorrt_nobody_knows_is_a_note(
    monkeypatch: pytest.MonkeyPatch, installed: Installed
) -> None:
    installed(tensorrt="7.1.3")
    said = _one(_found(monkeypatch), "tensorrt")
    assert said.state is State.NOTE and said.found == "7.1.3" and "Expected" in said.advice


@pytest.mark.parametrize(
    ("torch", "state"),
    [("2.11.1+cu128", State.OK), ("2.13.0+cpu", State.PROBLEM), ("2.1.0", State.PROBLEM)],
)
def test_torch_tensorrt_must_be_of_torchs_release(
    torch: str, state: State, monkeypatch: pytest.MonkeyPatch, installed: Installed
) -> None:
    installed(torch=torch, torch_tensorrt="2.11.0")
    said = _one(_found(monkeypatch), "torch-tensorrt")
    assert said.state is state
    assert said.advice == ("" if state is State.OK else _beside(torch))


def _beside(torch: str) -> str:
    return f"It loads only beside torch 2.11, but torch is {torch}."


@pytest.mark.parametrize(
    ("version", "gpu", "state"),
    [
        ("2.13.0+cpu", None, State.MISSING),
        ("2.13.0+cpu", GPU, State.NOTE),
        ("2.13.0+cu130", GPU, State.OK),
    ],
)
def test_torch_of_the_cpu_is_told_beside_a_gpu(
    version: str,
    gpu: Gpu | None,
    state: State,
    monkeypatch: pytest.MonkeyPatch,
    installed: Installed,
) -> None:
    installed(torch=version)
    assert _one(_found(monkeypatch, gpu), "torch on CUDA").state is state


def test_the_providers_are_the_libraries_in_the_package(
    monkeypatch: pytest.MonkeyPatch, installed: Installed, tmp_path: Path
) -> None:
    installed(onnxruntime_gpu="1.22.0")
    monkeypatch.setattr(module, "_package_folder", lambda _: tmp_path)
    (tmp_path / "capi").mkdir()
    assert _one(_found(monkeypatch), "onnxruntime on GPUs").state is State.MISSING
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").touch()
    said = _one(_found(monkeypatch), "onnxruntime on GPUs")
    assert said == Finding("onnxruntime on GPUs", State.OK, "CUDA (onnxruntime-cuda)")
    (tmp_path / "capi" / "libonnxruntime_providers_tensorrt.so").touch()
    said = _one(_found(monkeypatch), "onnxruntime on GPUs")
    assert said.found == "CUDA (onnxruntime-cuda), TensorRT (onnxruntime-tensorrt)"


def test_two_onnxruntimes_over_each_other_are_a_problem(
    monkeypatch: pytest.MonkeyPatch, installed: Installed
) -> None:
    installed(onnxruntime="1.22.0", onnxruntime_gpu="1.22.0")
    said = _one(_found(monkeypatch), "onnxruntime on GPUs")
    assert (said.state, said.found) == (State.PROBLEM, "onnxruntime and onnxruntime-gpu")


def test_the_real_package_has_no_gpu_provider_or_names_it() -> None:
    import onnxruntime

    said = _one(gpu_findings(), "onnxruntime on GPUs")
    built_in = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    assert ("CUDA (" in said.found) == built_in
