"""The sidecar of an engine: written, read, and checked before anything is deserialized."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segship.common.errors import InputError
from segship.data.contract import Contract
from segship.runtimes.artifact import Lineage, PassNote
from segship.runtimes.session import TensorInfo
from segship.runtimes.tensorrt.portability import version_numbers
from segship.runtimes.tensorrt.sidecar import (
    HEAD_BYTES,
    EngineInfo,
    ShapeRange,
    check_engine,
    read_sidecar,
    sidecar_path,
    write_sidecar,
)

PLAN = b"ftrt" + bytes(range(256)) * 8
T4, ORIN, A10 = ("Tesla T4", "7.5"), ("Orin (nvgpu)", "8.7"), ("NVIDIA A10", "8.6")


def engine_at(folder: Path, **changes: Any) -> tuple[Path, EngineInfo]:
    """A plan on disk with its sidecar."""
    path = folder / "m.engine"
    path.write_bytes(PLAN)
    info = EngineInfo(
        engine_sha256=hashlib.sha256(PLAN).hexdigest(),
        engine_bytes=len(PLAN),
        engine_head=PLAN[:HEAD_BYTES].hex(),
        contract=Contract(size_px=(512, 1024), classes=("road", "car")),
        lineage=Lineage(source="b0", passes=(PassNote("head fold", 1, ("note",)),)),
        tensorrt="10.3.0",
        cuda_runtime="12.6",
        driver="12.6",
        gpu=A10[0],
        sm=A10[1],
        inputs=(TensorInfo("pixels", "float32", ("batch", 3, 512, 1024)),),
        outputs=(TensorInfo("segmentation", "float32", ("batch", 2, 128, 256)),),
        profiles=(ShapeRange((1, 3, 512, 1024), (2, 3, 512, 1024), (4, 3, 512, 1024)),),
        precision="fp16",
        options={"level": 3},
        layers=({"name": "conv", "part": "stage 1 sr"},),
    )
    info = replace(info, **changes)
    write_sidecar(path, info)
    return path, info


def check(path: Path, gpu: tuple[str, str] = A10, version: str = "10.3.0") -> tuple[str, ...]:
    return check_engine(path, read_sidecar(path), trt_version=version, sm=gpu[1], gpu=gpu[0])


def refusal(path: Path, gpu: tuple[str, str] = A10, version: str = "10.3.0") -> str:
    with pytest.raises(InputError) as caught:
        check(path, gpu, version)
    text = str(caught.value)
    assert "\n" not in text and str(path) in text
    return text


def test_what_is_written_is_read_back_unchanged(tmp_path: Path) -> None:
    path, info = engine_at(tmp_path)
    assert sidecar_path(path).name == "m.engine.json"
    assert read_sidecar(path) == info
    assert check(path) == ()


def test_an_engine_without_sidecar_is_refused(tmp_path: Path) -> None:
    path, _ = engine_at(tmp_path)
    sidecar_path(path).unlink()
    assert "m.engine.json beside" in refusal(path)


def test_a_sidecar_without_engine_is_refused(tmp_path: Path) -> None:
    path, _ = engine_at(tmp_path)
    path.unlink()
    assert "is no file" in refusal(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 1}', '"text"'])
def test_a_corrupt_sidecar_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path, _ = engine_at(tmp_path)
    sidecar_path(path).write_text(text)
    with pytest.raises(InputError, match="cannot be read") as caught:
        read_sidecar(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["contract", "lineage", "inputs", "profiles", "engine_bytes"])
def test_a_sidecar_that_lacks_a_field_is_refused(tmp_path: Path, field: str) -> None:
    path, info = engine_at(tmp_path)
    values = json.loads(info.to_json())
    del values[field]
    sidecar_path(path).write_text(json.dumps(values))
    with pytest.raises(InputError, match="cannot be read"):
        read_sidecar(path)


def test_a_newer_sidecar_names_its_version(tmp_path: Path) -> None:
    path, info = engine_at(tmp_path)
    sidecar_path(path).write_text(json.dumps({**json.loads(info.to_json()), "version": 2}))
    with pytest.raises(InputError, match="has version 2: use the segship that wrote it"):
        read_sidecar(path)


def test_a_truncated_engine_is_told_by_its_size(tmp_path: Path) -> None:
    path, _ = engine_at(tmp_path)
    path.write_bytes(PLAN[:1000])
    assert f"Expected {len(PLAN)} bytes" in refusal(path)
    assert "has 1000 (cut off)" in refusal(path)
    path.write_bytes(b"")
    assert "has 0 (cut off)" in refusal(path)
    path.write_bytes(PLAN + b"x")
    assert "longer than built" in refusal(path)


@pytest.mark.parametrize("at", [HEAD_BYTES, 1000, len(PLAN) - 1])
def test_one_flipped_bit_is_found(tmp_path: Path, at: int) -> None:
    path, _ = engine_at(tmp_path)
    path.write_bytes(PLAN[:at] + bytes((PLAN[at] ^ 1,)) + PLAN[at + 1 :])
    assert "Expected the bytes the sidecar hashed" in refusal(path)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"PK\x03\x04", "a zip archive or a PyTorch checkpoint"),
        (b"\x08\x08\x12\x07", "an ONNX file"),
        (b"version https://git-lfs", "a Git LFS pointer"),
        (b"....", "its first bytes are others"),
    ],
)
def test_a_foreign_file_is_called_by_what_it_is(tmp_path: Path, head: bytes, kind: str) -> None:
    path, _ = engine_at(tmp_path)
    path.write_bytes(head + PLAN[len(head) :])
    assert kind in refusal(path)


def test_another_gpu_is_refused_with_both_names(tmp_path: Path) -> None:
    path, _ = engine_at(tmp_path)
    text = refusal(path, ORIN)
    assert "Orin (nvgpu) (SM 8.7)" in text and "NVIDIA A10 (SM 8.6;" in text
    assert "build it on this machine" in text


def test_the_same_sm_on_another_gpu_is_allowed_and_said(tmp_path: Path) -> None:
    path, _ = engine_at(tmp_path)
    (note,) = check(path, ("NVIDIA RTX A4000", "8.6"))
    assert "built on NVIDIA A10, not on this NVIDIA RTX A4000" in note


@pytest.mark.parametrize("gpu", [ORIN, ("NVIDIA H200", "9.0"), ("NVIDIA A100", "8.0")])
def test_ampere_plus_runs_on_ampere_and_later(tmp_path: Path, gpu: tuple[str, str]) -> None:
    path, _ = engine_at(tmp_path, hardware_compatibility="ampere-plus")
    assert check(path, gpu) == ()


def test_ampere_plus_does_not_run_before_ampere(tmp_path: Path) -> None:
    path, _ = engine_at(tmp_path, hardware_compatibility="ampere-plus")
    assert "it runs on SM 8.0 and later" in refusal(path, T4)


def test_same_compute_capability_takes_any_gpu_of_that_sm_alone(tmp_path: Path) -> None:
    path, _ = engine_at(tmp_path, hardware_compatibility="same-compute-capability")
    assert check(path, ("NVIDIA RTX A4000", "8.6")) == ()
    assert "it runs on SM 8.6 alone" in refusal(path, ORIN)


@pytest.mark.parametrize("version", ["10.3.0.26", "10.3.0"])
def test_the_same_release_may_carry_a_build_number(tmp_path: Path, version: str) -> None:
    path, _ = engine_at(tmp_path)
    assert check(path, version=version) == ()


@pytest.mark.parametrize("version", ["10.3.1", "10.2.0", "10.13.0", "11.4.0.106", "8.6.0"])
def test_another_version_is_refused_both_ways(tmp_path: Path, version: str) -> None:
    path, _ = engine_at(tmp_path)
    text = refusal(path, version=version)
    assert f"for TensorRT {version}" in text and "was built with 10.3.0" in text


@pytest.mark.parametrize(
    ("built", "newer"),
    [("10.3.0", "10.13.2"), ("10.3.0", "11.4.0"), ("8.6.0", "8.6.1"), ("8.6.1", "10.3.0")],
)
def test_a_version_compatible_engine_runs_on_later_ones(
    tmp_path: Path, built: str, newer: str
) -> None:
    path, _ = engine_at(tmp_path, tensorrt=built, version_compatible=True)
    (note,) = check(path, version=newer)
    assert f"built with TensorRT {built}" in note


@pytest.mark.parametrize(
    ("built", "other"),
    [("10.3.0", "10.2.0"), ("10.3.0", "8.6.1"), ("8.6.0", "11.4.0"), ("8.5.3", "8.6.0")],
)
def test_a_version_compatible_engine_has_bounds(tmp_path: Path, built: str, other: str) -> None:
    path, _ = engine_at(tmp_path, tensorrt=built, version_compatible=True)
    assert f"was built with {built}" in refusal(path, version=other)


def test_a_version_that_is_no_version_is_refused(tmp_path: Path) -> None:
    assert version_numbers("unknown") == ()
    path, _ = engine_at(tmp_path, tensorrt="unknown", version_compatible=True)
    assert "was built with unknown" in refusal(path)


def test_a_profile_takes_what_lies_between_its_ends() -> None:
    profile = ShapeRange((1, 3, 512, 512), (1, 3, 512, 1024), (4, 3, 1024, 1024))
    assert profile.accepts((4, 3, 512, 1024)) and profile.accepts((1, 3, 512, 512))
    assert not profile.accepts((5, 3, 512, 512)) and not profile.accepts((1, 3, 511, 512))
    assert not profile.accepts((1, 3, 512))
