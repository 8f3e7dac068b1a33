"""What each generation of TensorRT calls things and can do, as one table.

The names are those of real modules, recorded in tests/runtimes/tensorrt_api and held to this table
by tests/runtimes/test_tensorrt_versions.py; what a name does is documentation (`facts`). The table
is printed by `python -m segship.runtimes.tensorrt.version_table`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ...common.errors import InputError
from .known_bad import known_bad
from .portability import version_numbers

__all__ = ["Generation", "generation_of", "generations", "known_bad"]

_DOCS = "https://docs.nvidia.com/deeplearning/tensorrt"
_OPERATORS = "https://github.com/onnx/onnx-tensorrt/blob"
_SAME_SM_SINCE = (10, 9)  # among the names of 10.9.0.34, not of 10.8.0.43
_OPSET_24_SINCE = (10, 15)
_MEMORY_V2_SINCE = (10, 1)  # among the names of 10.1.0, not of 10.0.1


@dataclass(frozen=True)
class Generation:
    """One generation.

    Attributes:
        name: "8.5", "8.6", "10" or "11".
        jetpack: JetPack releases it comes with.
        strong_typing: whether types come from the graph: never, by a network flag, always.
        explicit_batch_flag: `NetworkDefinitionCreationFlag.EXPLICIT_BATCH` exists.
        precision_flags: `BuilderFlag.FP16`, `INT8`, `OBEY_PRECISION_CONSTRAINTS` and
            `ILayer.precision` exist.
        hardware_levels: members of `HardwareCompatibilityLevel` other than NONE.
        version_compatible: `BuilderFlag.VERSION_COMPATIBLE` exists.
        optimization_level: `IBuilderConfig.builder_optimization_level` exists.
        timing_cache: a timing cache can be kept and given again.
        layer_norm: the parser knows the operator LayerNormalization.
        gelu: it has GELU as one activation.
        layer_metadata: the inspector tells each layer's ONNX nodes.
        calibrators: `IInt8Calibrator` exists (segship gives Q/DQ and uses none).
        fast_type_queries: `Builder.platform_has_fast_fp16` and its like exist.
        device_memory: the property of an engine that tells the bytes of its activations.
        inspector_io_key: what the inspector's JSON calls inputs and outputs.
        max_opset: highest ONNX opset its parser is listed with.
        fp16_scales: Q/DQ may have FP16 scales (opset 19).
        recorded: releases whose names were recorded.
        facts: what the table rests on besides recorded names, with sources.
    """

    name: str
    jetpack: str
    strong_typing: Literal["never", "flag", "always"]
    explicit_batch_flag: bool
    precision_flags: bool
    hardware_levels: tuple[str, ...]
    version_compatible: bool
    optimization_level: bool
    timing_cache: bool
    layer_norm: bool
    gelu: bool
    layer_metadata: bool
    calibrators: bool
    fast_type_queries: bool
    device_memory: str
    inspector_io_key: Literal["Bindings", "I/O Tensors"]
    max_opset: int
    fp16_scales: bool
    recorded: tuple[str, ...]
    facts: tuple[str, ...]


_FIRST = Generation(
    name="8.5",
    jetpack="5.1 (8.5.2)",
    strong_typing="never",
    explicit_batch_flag=True,
    precision_flags=True,
    hardware_levels=(),
    version_compatible=False,
    optimization_level=False,
    timing_cache=True,
    layer_norm=False,
    gelu=False,
    layer_metadata=False,
    calibrators=True,
    fast_type_queries=True,
    device_memory="device_memory_size",
    inspector_io_key="Bindings",
    max_opset=17,
    fp16_scales=False,
    recorded=("8.5.3.1",),
    facts=(
        f"opset 17 without LayerNormalization: {_OPERATORS}/release/8.5-GA/docs/operators.md",
        "a graph with LayerNormalization does not parse, on 8.6 it does: "
        "https://github.com/ItayElam/SegmentAnything-TensorRT/issues/2",
        "JetPack 5.1 has 8.5.2.2: set-up notes of several public projects, no page of NVIDIA read",
    ),
)
_SECOND = replace(
    _FIRST,
    name="8.6",
    jetpack="6.0 (8.6.2)",
    hardware_levels=("AMPERE_PLUS",),
    version_compatible=True,
    optimization_level=True,
    layer_norm=True,
    layer_metadata=True,
    recorded=("8.6.0",),
    facts=(
        f"opset 17: {_OPERATORS}/release/8.6-GA/docs/operators.md",
        "LayerNormalization and ONNX nodes in the layers' metadata since 8.6: "
        f"{_OPERATORS}/main/docs/Changelog.md",
        "JetPack 6.0 has 8.6.2.3: https://github.com/NVIDIA/TensorRT/issues/4072",
    ),
)
_TENTH = replace(
    _SECOND,
    name="10",
    jetpack="6.1, 6.2 (10.3), 7.1 (10.13.3)",
    strong_typing="flag",
    gelu=True,
    max_opset=20,
    fp16_scales=True,
    recorded=("10.0.1", "10.3.0", "10.9.0.34", "10.13.3.9", "10.16.1.11"),
    facts=(
        f"opset 9 to 24 in 10.15: {_OPERATORS}/main/docs/operators.md; before it the highest read "
        "is 19 for 9.2, and 20 rests on GELU_ERF among the names of 10.0.1",
        f"calibrators are deprecated since 10.1: {_DOCS}/latest/_static/c-api/deprecated.html",
        "weak typing is deprecated since 10.12: "
        "https://www.skills.sh/nvidia/tensorrt/trt-strong-typing-migration",
        "JetPack 6.1 and 6.2 have 10.3: "
        "https://github.com/pytorch/TensorRT/blob/main/docsrc/getting_started/jetpack.rst; 7.1 has "
        "10.13.3.9: https://github.com/NVIDIA/TensorRT-Edge-LLM/issues/105",
    ),
)
_ELEVENTH = replace(
    _TENTH,
    name="11",
    jetpack="7.2.2 (11.4.1)",
    strong_typing="always",
    explicit_batch_flag=False,
    precision_flags=False,
    calibrators=False,
    fast_type_queries=False,
    hardware_levels=("AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY"),
    device_memory="device_memory_size_v2",
    inspector_io_key="I/O Tensors",
    max_opset=25,
    recorded=("11.0.0.114", "11.4.0.106"),
    facts=(
        "every network is strongly typed; the flag is accepted and ignored: "
        f"{_DOCS}/11.4.0/api/migration/tensorrt-10x-to-11x.html",
        "the inspector's JSON has I/O Tensors for Bindings: "
        f"{_DOCS}/11.3.0/api/migration/tensorrt-10x-to-11x-IEngineInspector.html",
        f"opset 25: {_DOCS}/latest/reference/onnx-opset-guide.html",
        f"JetPack from 11.4.1 on: {_DOCS}/11.4.1/api/migration/tensorrt-10x-to-11x-jetson.html",
    ),
)


def generations() -> tuple[Generation, ...]:
    """Return every generation, oldest first, as its first release is."""
    return (_FIRST, _SECOND, _TENTH, _ELEVENTH)


def generation_of(version: str) -> Generation:
    """Return the generation of a release, with what came within it.

    >>> generation_of("10.3.0.26").hardware_levels
    ('AMPERE_PLUS',)

    Raises:
        InputError: TensorRT before 8.5, or a generation this table does not know.
    """
    numbers = version_numbers(version)
    if (8, 5) <= numbers < (9,):
        return _FIRST if numbers < (8, 6) else _SECOND
    if numbers[:1] == (10,):
        return _tenth(numbers)
    if numbers[:1] == (11,):
        return _ELEVENTH
    raise InputError(
        f"Expected TensorRT 8.5, 8.6, 10 or 11, but got {version}: "
        + ("update segship." if numbers > (11,) else "install a release of one of these.")
    )


def _tenth(numbers: tuple[int, ...]) -> Generation:
    """Return what a release of TensorRT 10 has: three names and the opset came within it."""
    found = _TENTH
    if numbers >= _MEMORY_V2_SINCE:
        found = replace(found, device_memory=_ELEVENTH.device_memory)
    if numbers >= _SAME_SM_SINCE:
        found = replace(found, hardware_levels=_ELEVENTH.hardware_levels)
    if numbers >= _OPSET_24_SINCE:
        found = replace(found, max_opset=24)
    return found
