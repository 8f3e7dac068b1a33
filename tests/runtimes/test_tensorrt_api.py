"""Every TensorRT name our code uses is there in every release whose generation declares it.

Two ways: the names written in the source are looked up in the records of real modules, and a build
with all options of a generation runs on the fake, whose classes have the recorded names alone.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from segship.optimize.tensorrt.build import build
from segship.runtimes.cuda.library import DeviceInfo
from segship.runtimes.tensorrt.versions import Generation, generation_of
from segship.tests.optimize.quantize_graphs import graph_of
from segship.tests.runtimes.fake_tensorrt import fake_tensorrt
from segship.tests.runtimes.fake_tensorrt_strict import read_record, recorded_versions

ROOMS = ("runtimes/tensorrt", "optimize/tensorrt")
MODULE = ("trt", "_trt")
OBJECTS = {  # what our variables of these names hold
    "builder": "Builder",
    "config": "IBuilderConfig",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "layer": "ILayer",
    "profile": "IOptimizationProfile",
    "runtime": "Runtime",
    "_runtime": "Runtime",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "_context": "IExecutionContext",
}
OWN = {  # and where they hold something of ours
    ("session.py", "_engine"),
    ("engine.py", "profile"),
}
# Names that not every generation has → whether this one declares them.
BOUND: dict[str, Callable[[Generation], bool]] = {
    "IBuilderConfig.builder_optimization_level": lambda item: item.optimization_level,
    "IBuilderConfig.hardware_compatibility_level": lambda item: bool(item.hardware_levels),
    "HardwareCompatibilityLevel": lambda item: bool(item.hardware_levels),
    "Runtime.engine_host_code_allowed": lambda item: item.version_compatible,
    "ILayer.precision": lambda item: item.precision_flags,
    "ILayer.set_output_type": lambda item: item.precision_flags,
}


def used_names(file: str, source: str) -> Iterator[str]:
    """Yield "Class.member", "Enum.MEMBER" and "Class" that a source file names."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute):
            continue
        chain = _chain(node)
        if chain[0] == "self":
            chain = chain[1:]
        if len(chain) > 1 and chain[0] in MODULE:
            yield ".".join(chain[1:])
        elif len(chain) > 1 and chain[0] in OBJECTS and (file, chain[0]) not in OWN:
            yield f"{OBJECTS[chain[0]]}.{chain[1]}"


def _chain(node: ast.expr) -> list[str]:
    """Return the names of a.b.c; [""] first where it starts with no name."""
    if isinstance(node, ast.Attribute):
        return [*_chain(node.value), node.attr]
    return [node.id if isinstance(node, ast.Name) else ""]


def exists(record: dict[str, Any], path: str) -> bool:
    """Say whether a recorded module has a dotted name."""
    if path.startswith("__"):
        return path == "__version__"
    enum, _, member = path.rpartition(".")
    if enum in record["enums"]:
        return member in record["enums"][enum]
    owner, _, member = path.partition(".")
    if f"{owner}.{member}" in record["enums"]:
        return True
    known = record["classes"].get(owner)
    if known is None or not member:
        return known is not None or owner in {**record["enums"], **record["functions"]}
    parts = (known, *(record["classes"][base] for base in known["bases"]))
    return member == "__init__" or any(
        member in part[kind] for part in parts for kind in ("methods", "properties", "values")
    )


def missing(names: set[str], version: str) -> set[str]:
    """Return the names that a release's generation declares and its real module lacks."""
    record, generation = read_record(version), generation_of(version)
    wanted = {name for name in names if name not in BOUND or BOUND[name](generation)}
    return {name for name in wanted if not exists(record, name)}


@pytest.fixture(scope="module")
def names(repository: Path) -> set[str]:
    """Every TensorRT name in our two rooms."""
    files = [path for room in ROOMS for path in (repository / room).glob("*.py")]
    return {
        name for path in files for name in used_names(path.name, path.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize("version", recorded_versions())
def test_no_name_we_use_is_missing(names: set[str], version: str) -> None:
    assert missing(names, version) == set()


def test_the_walk_sees_what_a_build_and_a_session_call(names: set[str]) -> None:
    assert {
        "Builder.build_serialized_network",
        "IBuilderConfig.set_memory_pool_limit",
        "MemoryPoolType.WORKSPACE",
        "ILogger.Severity.ERROR",
        "ICudaEngine.get_tensor_dtype",
        "IExecutionContext.execute_async_v3",
        "Runtime.deserialize_cuda_engine",
    } <= names


def test_every_bound_name_is_used_and_lacks_somewhere(names: set[str]) -> None:
    records = [read_record(version) for version in recorded_versions()]
    for name in BOUND:
        assert name in names, f"{name} is used no more: take it out of BOUND"
        assert not all(exists(record, name) for record in records), f"{name} is everywhere"


@pytest.mark.parametrize(
    ("line", "lacking"),
    [
        ("config.set_flagg(1)", {"IBuilderConfig.set_flagg"}),
        ("self._context.execute_async_v2(0)", {"IExecutionContext.execute_async_v2"}),
        ("trt.BuilderFlag.FP16", {"BuilderFlag.FP16"}),
        ("trt.ILogger.Severity.FATAL", {"ILogger.Severity.FATAL"}),
        ("trt.Calibrator(1)", {"Calibrator"}),
        ("engine.device_memory_size", {"ICudaEngine.device_memory_size"}),
        ("trt.BuilderFlag.TF32; config.flags; trt.ILogger.__init__(self)", set()),
    ],
)
def test_a_wrong_name_is_found(line: str, lacking: set[str]) -> None:
    assert missing(set(used_names("some.py", line)), "11.4.0.106") == lacking


DEVICE = DeviceInfo("Orin (nvgpu)", "8.7", "12.6", "12.6", 7620.0, True, "")


def conv(folder: Path) -> Path:
    """A foreign graph (1,3,64,64) → two classes: one convolution in FP32."""
    node = helper.make_node("Conv", ["x", "w"], ["out"], name="conv")
    weights = {"w": np.ones((2, 3, 1, 1), np.float32)}
    path = folder / "foreign.onnx"
    onnx.save(graph_of([node], weights, (1, 3, 64, 64)), str(path))
    return path


def all_options(generation: Generation) -> dict[str, Any]:
    """Return every option of `build` that a generation declares."""
    options: dict[str, Any] = {"workspace_mib": 512, "sparse": True, "tf32": True}
    options["fp16"] = generation.strong_typing == "never"
    if generation.optimization_level:
        options["level"] = 5
    if generation.hardware_levels:
        options["hardware"] = generation.hardware_levels[-1].lower().replace("_", "-")
    return {**options, "version_compatible": generation.version_compatible}


@pytest.mark.parametrize("version", recorded_versions())
def test_a_build_with_every_option_runs_on_the_recorded_names(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    trt, generation = fake_tensorrt(version), generation_of(version)
    options = all_options(generation)
    build(conv(tmp_path), tmp_path / "m.engine", trt=trt, device=DEVICE, **options)
    (asked,) = trt._builds
    weak = {"FP16", "OBEY_PRECISION_CONSTRAINTS"} if generation.precision_flags else set()
    expected = {"SPARSE_WEIGHTS", "TF32"} | (weak if options["fp16"] else set())
    expected |= {"VERSION_COMPATIBLE"} if generation.version_compatible else set()
    assert set(asked["flags"]) == expected
    assert asked["pools"] == {"WORKSPACE": 512 << 20}
    assert asked["settings"].get("builder_optimization_level") == options.get("level")
    typed = "STRONGLY_TYPED" in asked["network_flags"]
    assert typed == (generation.strong_typing == "flag")
    assert ("EXPLICIT_BATCH" in asked["network_flags"]) == generation.explicit_batch_flag
