"""Builds that are refused or fail: one line each, and nothing left behind."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segship.common.errors import InputError
from segship.optimize.tensorrt.build import build
from segship.runtimes.tensorrt.sidecar import sidecar_path
from segship.tests.optimize.tensorrt_builds import (
    FC1,
    ORIN,
    SOFTMAX,
    VERSIONS,
    built,
    half,
    plain,
    quantized,
    refusal,
)
from segship.tests.runtimes.fake_tensorrt import fake_tensorrt


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "segship" / "tensorrt"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"level": 3}, "--level came with 8.6"),
        ({"version_compatible": True}, "--version-compat came with 8.6"),
        ({"hardware": "ampere-plus"}, "TensorRT 8.5.3.1 has \\(none\\)"),
    ],
)
def test_what_86_brought_is_refused_on_85(
    tmp_path: Path, options: dict[str, Any], text: str
) -> None:
    source = plain(tmp_path)
    with pytest.raises(InputError, match=text):
        built(source, tmp_path, "8.5.3.1", **options)


@pytest.mark.parametrize("version", ["10.3.0", "11.4.0.106"])
def test_fp16_of_a_float_graph_is_never_silent_later(tmp_path: Path, version: str) -> None:
    source = plain(tmp_path)
    text = refusal(source, tmp_path, version, fp16=True)
    assert "segship quantize foreign.onnx -o fp16.onnx --precision fp16" in text
    built(half(tmp_path), tmp_path, version, fp16=True)  # it says so itself


def test_the_int8_graph_is_sent_to_quantize_for_fp16_around_it(tmp_path: Path) -> None:
    source = quantized(tmp_path)
    assert "--precision int8 --float fp16" in refusal(source, tmp_path, "10.3.0", fp16=True)


@pytest.mark.parametrize(("version", "profile"), [("8.6.0", "tensorrt10"), ("10.3.0", "tensorrt8")])
def test_a_profile_of_another_generation_is_refused(
    tmp_path: Path, version: str, profile: str
) -> None:
    source = plain(tmp_path)
    text = refusal(source, tmp_path, version, profile=profile)
    assert f"profile {profile}, but {version} is installed" in text


@pytest.mark.parametrize(
    ("version", "profile"),
    [("8.6.0", "tensorrt8"), ("10.3.0", "tensorrt10"), ("11.4.0.106", "tensorrt10")],
)
def test_the_profile_of_the_installed_generation_is_taken(
    tmp_path: Path, version: str, profile: str
) -> None:
    built(plain(tmp_path), tmp_path, version, profile=profile)


def test_a_level_of_compatibility_the_release_lacks_is_refused(tmp_path: Path) -> None:
    source, level = plain(tmp_path), "same-compute-capability"
    assert f"but got {level}" in refusal(source, tmp_path, "10.3.0", hardware=level)
    built(source, tmp_path, "11.4.0.106", hardware=level)


def test_ampere_plus_needs_ampere_and_is_in_doubt_on_a_jetson(tmp_path: Path) -> None:
    source, trt = plain(tmp_path), fake_tensorrt("10.3.0")
    turing = replace(ORIN, name="Tesla T4", sm="7.5", integrated=False)
    with pytest.raises(InputError, match=r"Tesla T4 is SM 7\.5"):
        build(source, tmp_path / "m.engine", trt=trt, device=turing, hardware="ampere-plus")
    report, _ = built(source, tmp_path, "10.3.0", hardware="ampere-plus")
    assert any("not supported on JetPack" in note for note in report.notes)
    desktop = replace(ORIN, name="NVIDIA A10", sm="8.6", integrated=False)
    report = build(source, tmp_path / "m.engine", trt=trt, device=desktop, hardware="ampere-plus")
    assert not any("JetPack" in note for note in report.notes)


def test_a_parser_that_refuses_names_node_and_part(tmp_path: Path) -> None:
    source = plain(tmp_path)
    errors = ({"desc": "no importer for Softmax", "node": 1, "node_name": SOFTMAX},)
    for version in VERSIONS:
        text = refusal(source, tmp_path, version, fake={"parse_errors": errors})
        assert f"{SOFTMAX} (stage 1 qk) failed: no importer for Softmax" in text


def test_a_build_that_fails_names_node_part_and_memory(tmp_path: Path) -> None:
    source = plain(tmp_path)
    fake = {"build_error": f"Could not find any implementation for node {FC1}."}
    assert f"failed at {FC1} (stage 1 fc1)" in refusal(source, tmp_path, "8.6.0", fake=fake)
    fake = {"build_error": "Out of memory: 8589934592 bytes"}
    text = refusal(source, tmp_path, "10.3.0", fake=fake, workspace_mib=64)
    assert "8192 MiB were wanted" in text and "7620 MiB" in text and "allows 64 MiB" in text


def test_without_a_driver_there_is_one_line(tmp_path: Path) -> None:
    source = plain(tmp_path)
    text = refusal(source, tmp_path, "10.3.0", fake={"gpu": False})
    assert "Expected an NVIDIA GPU and driver" in text


def test_a_failed_build_leaves_the_old_engine_and_sidecar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = plain(tmp_path)
    built(source, tmp_path, "10.3.0")
    path = tmp_path / "m.engine"
    before = (path.read_bytes(), sidecar_path(path).read_text())
    refusal(source, tmp_path, "10.3.0", fake={"build_error": "x"})
    assert (path.read_bytes(), sidecar_path(path).read_text()) == before

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("segship.common.files.os.replace", full)
    refusal(half(tmp_path), tmp_path, "10.3.0")
    assert (path.read_bytes(), sidecar_path(path).read_text()) == before


def test_a_crash_between_the_names_leaves_no_engine_without_sidecar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sidecar gets its name first: what a crash could leave is refused, never run."""
    order: list[str] = []
    real = os.replace

    def note(source: Any, target: Any) -> None:
        order.append(Path(target).name)
        real(source, target)

    monkeypatch.setattr("segship.common.files.os.replace", note)
    built(plain(tmp_path), tmp_path, "10.3.0", timing_cache=False)
    assert order == ["m.engine.json", "m.engine"]


def test_the_dla_is_refused_with_the_graphs_operators(tmp_path: Path) -> None:
    source = half(tmp_path)
    text = refusal(source, tmp_path, "10.3.0", dla_core=0, fake={"dla_cores": 2})
    assert "it has no Softmax (1)" in text


@pytest.mark.parametrize(
    ("source", "output", "text"),
    [
        ("foreign.onnx", "m.plan", "a name that ends in .engine"),
        ("none.onnx", "m.engine", "does not exist"),
        ("m.pth", "m.engine", "Expected an ONNX file to build from"),
        ("foreign.onnx", "no/m.engine", "Expected the folder"),
    ],
)
def test_wrong_names_are_refused(tmp_path: Path, source: str, output: str, text: str) -> None:
    plain(tmp_path)
    (tmp_path / "m.pth").touch()
    with pytest.raises(InputError, match=text):
        build(tmp_path / source, tmp_path / output, trt=fake_tensorrt("10.3.0"), device=ORIN)


def test_an_engine_that_cannot_get_its_name_gives_the_old_sidecar_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = plain(tmp_path)
    built(source, tmp_path, "10.3.0")
    path = tmp_path / "m.engine"
    before = (path.read_bytes(), sidecar_path(path).read_text())
    real = os.replace

    def only_texts(temporary: Any, target: Any) -> None:
        if Path(target).suffix == ".engine":
            raise OSError(28, "No space left on device")
        real(temporary, target)

    monkeypatch.setattr("segship.common.files.os.replace", only_texts)
    assert "No space left" in refusal(half(tmp_path), tmp_path, "10.3.0")
    assert (path.read_bytes(), sidecar_path(path).read_text()) == before
    path.unlink()
    sidecar_path(path).unlink()
    refusal(source, tmp_path, "10.3.0")
    assert not sidecar_path(path).exists()
