"""`build` on the recorded names of TensorRT 8.6, 10.3 and 11.4; no engine is really built."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from segship.optimize.export import export
from segship.optimize.tensorrt.build import build
from segship.optimize.tensorrt.repeat import EngineTimes, RebuildVariance
from segship.runtimes.tensorrt.sidecar import check_engine, read_sidecar
from segship.tests.optimize.tensorrt_builds import (
    FC1,
    ORIN,
    SOFTMAX,
    VERSIONS,
    built,
    half,
    plain,
    quantized,
)
from segship.tests.runtimes.fake_tensorrt import fake_tensorrt
from segship.tests.runtimes.fake_tensorrt_strict import recorded_versions


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "segship" / "tensorrt"


@pytest.fixture(scope="module")
def exported(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with free batch, height and width. Do not change the file."""
    path = tmp_path_factory.mktemp("onnx") / "dynamic.onnx"
    export(tiny_checkpoint, path, dynamic=True)
    return path


@pytest.mark.parametrize("version", recorded_versions())
def test_an_export_is_built_and_its_sidecar_passes_the_check(
    exported: Path, tmp_path: Path, version: str
) -> None:
    sizes = ((64, 64), (64, 96), (96, 96))
    report, asked = built(exported, tmp_path, version, batches=(1, 2, 4), sizes_px=sizes)
    path = tmp_path / "m.engine"
    info = read_sidecar(path)
    assert info == report.info
    assert check_engine(path, info, trt_version=version, sm="8.7", gpu="Orin (nvgpu)") == ()
    assert [list(map(list, item["pixels"])) for item in asked["profiles"]] == [
        [[1, 3, 64, 64], [2, 3, 64, 96], [4, 3, 96, 96]]
    ]
    assert info.contract.classes and info.lineage.passes[-1].name == "tensorrt build"
    assert info.lineage.tool_versions["tensorrt"] == version
    assert [item.name for item in info.inputs] == ["pixels"]
    assert info.inputs[0].shape == ("batch", 3, "height", "width")
    assert info.precision == "fp32" and info.options["tf32"] is False
    parts = {row.part for row in report.summary.parts}
    assert {"stage 1 q", "stage 1 pv", "classifier"} <= parts
    assert report.summary.as_asked == len(parts)
    json.dumps(report.to_json())


def test_norms_are_taken_apart_for_85_alone(exported: Path, tmp_path: Path) -> None:
    report, asked = built(exported, tmp_path, "8.5.3.1")
    pieces = {
        item["name"] for item in asked["layers"] if "norm1/LayerNormalization" in item["name"]
    }
    assert any(name.endswith(":Sqrt") for name in pieces)
    assert any("LayerNormalization taken apart" in note for note in report.notes)
    (norms,) = [row for row in report.summary.parts if row.part == "stage 1 norms"]
    assert norms.state == "as asked"
    report, asked = built(exported, tmp_path, "8.6.0")
    assert not any(":" in item["name"] for item in asked["layers"])
    assert not any("taken apart" in note for note in report.notes)


@pytest.mark.parametrize("version", VERSIONS)
def test_tf32_is_off_unless_asked(tmp_path: Path, version: str) -> None:
    _, asked = built(plain(tmp_path), tmp_path, version)
    assert asked["flags"] == []
    _, asked = built(plain(tmp_path), tmp_path, version, tf32=True)
    assert asked["flags"] == ["TF32"]


def test_tensorrt_8_gets_flags_and_the_types_of_every_layer(tmp_path: Path) -> None:
    report, asked = built(half(tmp_path), tmp_path, "8.6.0")
    assert asked["flags"] == ["FP16", "OBEY_PRECISION_CONSTRAINTS"]
    assert asked["network_flags"] == ["EXPLICIT_BATCH"]
    kinds = {item["name"]: item["precision"] for item in asked["layers"]}
    assert (kinds[FC1], kinds[SOFTMAX]) == ("HALF", "FLOAT")
    returned = {item["name"]: item["returned"] for item in asked["layers"]}
    assert (returned[FC1], returned[SOFTMAX]) == ({"0": "HALF"}, {"0": "FLOAT"})
    assert "precision set from the graph on 2 of 4 layers" in report.notes


@pytest.mark.parametrize(("version", "flags"), [("10.3.0", ["STRONGLY_TYPED"]), ("11.4.0.106", [])])
def test_later_ones_take_types_from_the_graph(
    tmp_path: Path, version: str, flags: list[str]
) -> None:
    report, asked = built(half(tmp_path), tmp_path, version)
    assert asked["flags"] == []
    assert [name for name in asked["network_flags"] if name == "STRONGLY_TYPED"] == flags
    assert report.info.precision == "fp16"
    assert not any("precision set" in note for note in report.notes)


def test_quantized_layers_of_tensorrt_8_are_left_to_their_pairs(tmp_path: Path) -> None:
    report, asked = built(quantized(tmp_path), tmp_path, "8.6.0")
    assert asked["flags"] == ["INT8", "OBEY_PRECISION_CONSTRAINTS"]
    kinds = {item["name"]: item["precision"] for item in asked["layers"]}
    assert kinds[FC1] is None and kinds[SOFTMAX] == "FLOAT"
    assert report.info.precision == "int8"
    _, asked = built(quantized(tmp_path), tmp_path, "10.3.0")
    assert asked["flags"] == []


def test_a_product_with_one_quantized_operand_is_left_alone_too(tmp_path: Path) -> None:
    model = onnx.load(quantized(tmp_path))
    (product,) = [node for node in model.graph.node if node.name == FC1]
    product.input[1] = "w"  # the weight in float: FP32 by the graph, but its input is dequantized
    onnx.save(model, tmp_path / "partly.onnx")
    _, asked = built(tmp_path / "partly.onnx", tmp_path, "8.6.0")
    kinds = {item["name"]: item["precision"] for item in asked["layers"]}
    assert kinds[FC1] is None and kinds[SOFTMAX] == "FLOAT"


def test_tensorrt_8_may_choose_fp16_but_not_in_norms_and_softmax(tmp_path: Path) -> None:
    report, asked = built(plain(tmp_path), tmp_path, "8.6.0", fp16=True)
    assert asked["flags"] == ["FP16", "OBEY_PRECISION_CONSTRAINTS"]
    kinds = {item["name"]: item["precision"] for item in asked["layers"]}
    assert kinds[FC1] is None and kinds[SOFTMAX] == "FLOAT"
    assert report.info.precision == "fp16"
    assert any("FP32 in 1 of 2 layers" in note for note in report.notes)


@pytest.mark.parametrize("version", VERSIONS)
def test_options_reach_the_configuration(tmp_path: Path, version: str) -> None:
    report, asked = built(
        plain(tmp_path),
        tmp_path,
        version,
        workspace_mib=512,
        level=5,
        hardware="ampere-plus",
        version_compatible=True,
        sparse=True,
    )
    assert asked["pools"] == {"WORKSPACE": 512 << 20}
    assert asked["flags"] == ["SPARSE_WEIGHTS", "VERSION_COMPATIBLE"]
    settings = asked["settings"]
    assert settings["builder_optimization_level"] == 5
    assert settings["hardware_compatibility_level"] == "AMPERE_PLUS"
    assert settings["profiling_verbosity"] == "DETAILED"
    assert (report.info.hardware_compatibility, report.info.version_compatible) == (
        "ampere-plus",
        True,
    )
    assert report.sparsity is not None and report.sparsity.tensors == 0  # three channels


def test_layers_that_move_values_are_not_typed(exported: Path, tmp_path: Path) -> None:
    _, asked = built(exported, tmp_path, "8.6.0", fp16=True)
    typed = {item["name"] for item in asked["layers"] if item["precision"]}
    assert any("LayerNormalization" in name for name in typed)
    assert not any("Transpose" in name or "Reshape" in name for name in typed)


@pytest.mark.parametrize("wanted", [True, False])
def test_only_a_plan_with_its_own_runtime_may_run_it(tmp_path: Path, wanted: bool) -> None:
    trt, seen = fake_tensorrt("10.3.0"), list[bool]()
    real = trt.Runtime.deserialize_cuda_engine

    def note(of: Any, data: bytes) -> Any:
        seen.append(of.engine_host_code_allowed)
        return real(of, data)

    trt.Runtime.deserialize_cuda_engine = note
    source, target = plain(tmp_path), tmp_path / "m.engine"
    build(source, target, trt=trt, device=ORIN, version_compatible=wanted)
    assert seen == [wanted]


def test_a_second_build_finds_the_times_of_the_first(tmp_path: Path, own_cache: Path) -> None:
    source = plain(tmp_path)
    first, _ = built(source, tmp_path, "10.3.0")
    (path,) = own_cache.iterdir()
    assert path.name == "Orin-nvgpu-sm87-10.3.0.cache"
    once = path.stat().st_size
    built(source, tmp_path, "10.3.0")
    assert path.stat().st_size > once  # the fake adds an entry to what it was given
    assert not any("timing cache" in note for note in first.notes)


def test_a_cache_tensorrt_refuses_is_a_note(tmp_path: Path, own_cache: Path) -> None:
    from segship.optimize.tensorrt.timing_cache import CacheKey, store_cache

    key = CacheKey(ORIN.name, ORIN.sm, "10.3.0")
    store_cache(key.path(), key, b"of another build of TensorRT")
    report, _ = built(plain(tmp_path), tmp_path, "10.3.0")
    assert "TensorRT says it is of another device or version" in "".join(report.notes)
    assert own_cache.is_dir()


def test_no_timing_cache_leaves_none(tmp_path: Path, own_cache: Path) -> None:
    built(plain(tmp_path), tmp_path, "10.3.0", timing_cache=False)
    assert not own_cache.exists()


def test_a_size_not_asked_for_is_said_and_the_contract_follows(
    exported: Path, tmp_path: Path
) -> None:
    report, _ = built(exported, tmp_path, "10.3.0", sizes_px=((128, 96),))
    assert report.info.contract.size_px == (128, 96)
    assert any("images are resized to 128x96" in note for note in report.notes)


def test_repeated_builds_are_compared_and_the_first_is_kept(
    tmp_path: Path, own_cache: Path
) -> None:
    seen: list[list[Path]] = []
    times = EngineTimes(1.0, 0.9, 1.1)
    variance = RebuildVariance((times, times, times), ((0.0,) * 3,) * 3, 8, 20)

    def compare(paths: list[Path]) -> RebuildVariance:
        assert all(read_sidecar(path) for path in paths)
        seen.append(paths)
        return variance

    report, _ = built(plain(tmp_path), tmp_path, "10.3.0", repeat=3, compare=compare)
    assert report.variance == variance and len(seen[0]) == 3
    assert seen[0][0] == tmp_path / "m.engine" and not seen[0][1].exists()
    assert not own_cache.exists()  # its times would make the engines alike


def test_known_defects_of_a_release_are_told(tmp_path: Path) -> None:
    trt = fake_tensorrt("10.3.0")
    report = build(plain(tmp_path), tmp_path / "m.engine", trt=trt, device=ORIN)
    assert any("https://github.com/NVIDIA/TensorRT/issues/" in line for line in report.known_bad)


def test_another_device_gives_another_sidecar(tmp_path: Path) -> None:
    desktop = replace(ORIN, name="NVIDIA A10", sm="8.6", integrated=False)
    trt = fake_tensorrt("10.3.0")
    report = build(plain(tmp_path), tmp_path / "m.engine", trt=trt, device=desktop)
    assert (report.info.gpu, report.info.sm) == ("NVIDIA A10", "8.6")
