"""The version table against the names of real modules; known defects; how the module is loaded."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from segship.common.errors import InputError, MissingDependencyError
from segship.runtimes.tensorrt.known_bad import DEFECTS
from segship.runtimes.tensorrt.module import load_tensorrt
from segship.runtimes.tensorrt.version_table import table
from segship.runtimes.tensorrt.versions import generation_of, generations, known_bad
from segship.tests.runtimes.fake_tensorrt_strict import read_record, recorded_versions

Record = dict[str, Any]


def has(record: Record, path: str) -> bool:
    """Say whether a class has a method or property, or an enum a member: "Builder.reset"."""
    owner, member = path.split(".")
    if owner in record["enums"]:
        return member in record["enums"][owner]
    found = record["classes"].get(owner, {"methods": (), "properties": ()})
    return member in found["methods"] or member in found["properties"]


def typing_of(record: Record) -> str:
    if not has(record, "NetworkDefinitionCreationFlag.STRONGLY_TYPED"):
        return "never"
    return "flag" if has(record, "BuilderFlag.FP16") else "always"


def weak_names(record: Record) -> set[bool]:
    flags = ("FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS")
    layer = ("precision", "precision_is_set", "set_output_type", "reset_precision")
    names = [f"BuilderFlag.{name}" for name in flags] + [f"ILayer.{name}" for name in layer]
    return {has(record, name) for name in names}


# field of Generation → what a recorded module says of it
NAMES: dict[str, Callable[[Record], Any]] = {
    "strong_typing": typing_of,
    "explicit_batch_flag": lambda r: has(r, "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"),
    "version_compatible": lambda r: has(r, "BuilderFlag.VERSION_COMPATIBLE"),
    "optimization_level": lambda r: has(r, "IBuilderConfig.builder_optimization_level"),
    "timing_cache": lambda r: has(r, "IBuilderConfig.set_timing_cache"),
    "layer_norm": lambda r: has(r, "INetworkDefinition.add_normalization"),
    "gelu": lambda r: has(r, "ActivationType.GELU_ERF"),
    "layer_metadata": lambda r: has(r, "ILayer.metadata"),
    "calibrators": lambda r: "IInt8Calibrator" in r["classes"],
    "fast_type_queries": lambda r: has(r, "Builder.platform_has_fast_int8"),
    "hardware_levels": lambda r: tuple(
        sorted(set(r["enums"].get("HardwareCompatibilityLevel", {})) - {"NONE"})
    ),
    "device_memory": lambda r: (
        "device_memory_size_v2"
        if has(r, "ICudaEngine.device_memory_size_v2")
        else "device_memory_size"
    ),
}


@pytest.mark.parametrize("version", recorded_versions())
@pytest.mark.parametrize("field", NAMES)
def test_the_table_says_what_the_real_module_has(version: str, field: str) -> None:
    assert getattr(generation_of(version), field) == NAMES[field](read_record(version))


@pytest.mark.parametrize("version", recorded_versions())
def test_weak_typing_is_there_whole_or_not_at_all(version: str) -> None:
    assert weak_names(read_record(version)) == {generation_of(version).precision_flags}


def test_every_record_belongs_to_a_generation() -> None:
    listed = [version for item in generations() for version in item.recorded]
    assert tuple(listed) == recorded_versions()
    assert [generation_of(version).name for version in listed] == [
        item.name for item in generations() for _ in item.recorded
    ]


@pytest.mark.parametrize(
    ("version", "name"),
    [("8.5.2.2", "8.5"), ("8.6.2.3", "8.6"), ("10.3.0.26", "10"), ("11.4.1.5", "11")],
)
def test_the_four_numbers_of_a_jetson_are_understood(version: str, name: str) -> None:
    assert generation_of(version).name == name


@pytest.mark.parametrize("version", ["7.2.3", "8.4.3.1", "9.2.0", "12.0.0", "", "unknown"])
def test_other_releases_are_refused_in_one_line(version: str) -> None:
    with pytest.raises(InputError, match="^Expected TensorRT 8.5, 8.6, 10 or 11") as caught:
        generation_of(version)
    assert "\n" not in str(caught.value)
    assert ("update segship" in str(caught.value)) == (version == "12.0.0")


def test_what_came_within_a_generation_comes_with_its_release() -> None:
    assert generation_of("10.8.0.43").hardware_levels == ("AMPERE_PLUS",)
    assert "SAME_COMPUTE_CAPABILITY" in generation_of("10.9").hardware_levels
    assert [generation_of(item).max_opset for item in ("10.14.1", "10.15.1", "11.0")] == [
        20,
        24,
        25,
    ]


@pytest.mark.parametrize(
    ("version", "jetson", "sm", "issues"),
    [
        ("8.5.2.2", True, "8.7", ["SegmentAnything-TensorRT/issues/2"]),
        ("8.6.1", False, "", []),
        ("8.6.2.3", True, "8.7", ["issues/4072", "issues/3657"]),
        ("8.6.2.3", False, "8.6", ["issues/3657"]),
        ("10.3.0.26", True, "8.7", ["issues/4723", "issues/4419"]),
        ("10.13.3.9", True, "11.0", ["TensorRT-Edge-LLM/issues/105"]),
        ("10.13.3.9", False, "12.0", ["issues/4837"]),
        ("11.4.0.106", True, "11.0", ["tensorrt-10x-to-11x-jetson"]),
        ("11.4.0.106", False, "9.0", []),
        ("11.4.1.3", True, "8.7", []),
    ],
)
def test_known_defects_are_told_where_they_were_seen(
    version: str, jetson: bool, sm: str, issues: list[str]
) -> None:
    lines = known_bad(version, jetson=jetson, sm=sm)
    assert len(lines) == len(issues), lines
    assert all(issue in line for issue, line in zip(issues, lines, strict=True))


def test_every_defect_has_a_link_and_advice_in_one_line() -> None:
    for defect in DEFECTS:
        assert defect.since < defect.until and defect.advice and defect.link.startswith("https://")
        assert "\n" not in defect.line()


def test_the_printed_table_has_every_generation_and_every_defect() -> None:
    text = table()
    assert all(f"| {item.name} " in text.splitlines()[0] for item in generations())
    assert all(defect.link in text for defect in DEFECTS)
    assert all(fact in text for item in generations() for fact in item.facts)


def test_the_document_shows_the_printed_table(repository: Path) -> None:
    text = (repository / "docs" / "tensorrt.md").read_text(encoding="utf-8")
    missing = [line for line in table().splitlines() if line not in text]
    assert not missing, "python -m segship.runtimes.tensorrt.version_table prints another table"


def importing(error: ImportError, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `import tensorrt` fail with `error`."""
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)

    class Finder:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "tensorrt":
                raise error

    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])


def test_a_missing_tensorrt_is_one_line_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    importing(ModuleNotFoundError("No module named 'tensorrt'", name="tensorrt"), monkeypatch)
    with pytest.raises(MissingDependencyError, match="not installed: pip install tensorrt-cu12"):
        load_tensorrt()


def test_a_library_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    importing(ImportError("libnvinfer.so.10: cannot open shared\nobject file"), monkeypatch)
    with pytest.raises(
        MissingDependencyError, match="libnvinfer.so.10: cannot open shared"
    ) as error:
        load_tensorrt()
    assert "\n" not in str(error.value) and "LD_LIBRARY_PATH" in str(error.value)


def test_an_empty_folder_of_that_name_is_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    with pytest.raises(MissingDependencyError, match="is empty"):
        load_tensorrt()


def test_a_module_is_returned_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(Builder=builtins.object)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    assert load_tensorrt() is module
