"""`build` on the recorded names of TensorRT 8.6, 10.3 and 11.4; no engine is really built."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from segship.common.errors import CheckFailedError, InputError
from segship.optimize.export import export
from segship.optimize.tensorrt.build import build
from segship.optimize.tensorrt.repeat import EngineTimes, RebuildVariance
from segship.optimize.tensorrt.report import BuildReport
from segship.runtimes.cuda.library import DeviceInfo
from segship.runtimes.tensorrt.sidecar import check_engine, read_sidecar, sidecar_path
from segship.tests.optimize.quantize_graphs import graph_of
from segship.tests.runtimes.fake_tensorrt import fake_tensorrt
from segship.tests.runtimes.fake_tensorrt_strict import recorded_versions

ORIN = DeviceInfo("Orin (nvgpu)", "8.7", "12.6", "12.6", 7620.0, True, "")
VERSIONS = ("8.6.0", "10.3.0", "11.4.0.106")
FC1 = "/encoder/stages.0/blocks.0/ffn/fc1/Conv"
SOFTMAX = "/encoder/stages.0/blocks.0/attn/Softmax"


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


def saved(folder: Path, nodes: list[onnx.NodeProto], weights: dict[str, Any]) -> Path:
    """A foreign model (1,3,64,64) → logits of two classes."""
    path = folder / "foreign.onnx"
    onnx.save(graph_of(nodes, weights, (1, 3, 64, 64)), str(path))
    return path


WEIGHT = np.ones((2, 3, 1, 1), np.float32)


def plain(folder: Path) -> Path:
    """fc1 and a softmax in FP32."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name=FC1),
        helper.make_node("Softmax", ["c"], ["out"], name=SOFTMAX, axis=1),
    ]
    return saved(folder, nodes, {"w": WEIGHT})


def half(folder: Path) -> Path:
    """fc1 in FP16, the softmax an island in FP32."""
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16, name="down"),
        helper.make_node("Conv", ["h", "w"], ["c"], name=FC1),
        helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT, name="up"),
        helper.make_node("Softmax", ["f"], ["out"], name=SOFTMAX, axis=1),
    ]
    return saved(folder, nodes, {"w": WEIGHT.astype(np.float16)})


def quantized(folder: Path) -> Path:
    """fc1 between Q/DQ, the softmax in FP32."""

    def pair(name: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("QuantizeLinear", [name, "s", "z"], [f"{name}q"], name=f"q_{name}"),
            helper.make_node("DequantizeLinear", [f"{name}q", "s", "z"], [f"{name}d"]),
        ]

    nodes = [
        *pair("x"),
        *pair("w"),
        helper.make_node("Conv", ["xd", "wd"], ["c"], name=FC1),
        helper.make_node("Softmax", ["c"], ["out"], name=SOFTMAX, axis=1),
    ]
    scale = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    return saved(folder, nodes, {"w": WEIGHT, **scale})


def built(
    source: Path, folder: Path, version: str, *, fake: dict[str, Any] | None = None, **options: Any
) -> tuple[BuildReport, Any]:
    """Build with a stand-in; return the report and what the builder was asked for."""
    trt = fake_tensorrt(version, **(fake or {}))
    report = build(source, folder / "m.engine", trt=trt, device=ORIN, **options)
    return report, trt._builds[0]


def refusal(source: Path, folder: Path, version: str, **options: Any) -> str:
    """The one line of a build that is refused and leaves nothing behind."""
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises((InputError, CheckFailedError)) as caught:
        built(source, folder, version, **options)
    left = sorted(path.name for path in folder.iterdir() if path.name != "cache")
    assert left == [name for name in before if name != "cache"]
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


def test_tensorrt_8_may_choose_fp16_but_not_in_norms_and_softmax(tmp_path: Path) -> None:
    report, asked = built(plain(tmp_path), tmp_path, "8.6.0", fp16=True)
    assert asked["flags"] == ["FP16", "OBEY_PRECISION_CONSTRAINTS"]
    kinds = {item["name"]: item["precision"] for item in asked["layers"]}
    assert kinds[FC1] is None and kinds[SOFTMAX] == "FLOAT"
    assert report.info.precision == "fp16"
    assert any("FP32 in 1 of 2 layers" in note for note in report.notes)


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


def test_layers_that_move_values_are_not_typed(exported: Path, tmp_path: Path) -> None:
    _, asked = built(exported, tmp_path, "8.6.0", fp16=True)
    typed = {item["name"] for item in asked["layers"] if item["precision"]}
    assert any("LayerNormalization" in name for name in typed)
    assert not any("Transpose" in name or "Reshape" in name for name in typed)


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
    real = __import__("os").replace

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
    with pytest.raises(InputError, match=text):
        build(tmp_path / source, tmp_path / output, trt=fake_tensorrt("10.3.0"), device=ORIN)


def test_known_defects_of_a_release_are_told(tmp_path: Path) -> None:
    trt = fake_tensorrt("10.3.0")
    report = build(plain(tmp_path), tmp_path / "m.engine", trt=trt, device=ORIN)
    assert any("https://github.com/NVIDIA/TensorRT/issues/" in line for line in report.known_bad)


def test_another_device_gives_another_sidecar(tmp_path: Path) -> None:
    desktop = replace(ORIN, name="NVIDIA A10", sm="8.6", integrated=False)
    trt = fake_tensorrt("10.3.0")
    report = build(plain(tmp_path), tmp_path / "m.engine", trt=trt, device=desktop)
    assert (report.info.gpu, report.info.sm) == ("NVIDIA A10", "8.6")
