"""What `segship build` prints, on reports made by hand."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from segship.data.contract import Contract
from segship.optimize.tensorrt.layers import LayerRow
from segship.optimize.tensorrt.repeat import EngineTimes, RebuildVariance
from segship.optimize.tensorrt.report import BuildReport
from segship.optimize.tensorrt.sparsity import Sparsity
from segship.optimize.tensorrt.summary import BuildSummary, PartRow
from segship.reports.build_table import print_build
from segship.runtimes.artifact import Artifact, Lineage
from segship.runtimes.session import TensorInfo
from segship.runtimes.tensorrt.sidecar import EngineInfo, ShapeRange

SHAPE = (1, 3, 512, 512)
INFO = EngineInfo(
    engine_sha256="0" * 64,
    engine_bytes=3 << 20,
    engine_head="66747274",
    contract=Contract(classes=("road", "car")),
    lineage=Lineage(assumptions=("mean assumed",)),
    tensorrt="10.3.0",
    cuda_runtime="12.6",
    driver="12.8",
    gpu="Orin (nvgpu)",
    sm="8.7",
    inputs=(TensorInfo("pixels", "float32", SHAPE),),
    outputs=(TensorInfo("segmentation", "float32", (1, 2, 128, 128)),),
    profiles=(ShapeRange(SHAPE, SHAPE, SHAPE),),
    precision="int8",
    options={"tf32": False},
)
ROW = LayerRow("conv[0]", "gemm", "stage 1 q", ("stage 1 q",), "int8", ("/q",), False)
SUMMARY = BuildSummary(
    (
        PartRow("stage 1 q", "int8", "int8", 1, False, "as asked"),
        PartRow("stage 1 norms", "fp32", "fp16", 2, True, "inside"),
    ),
    ("q_x", "q_y", "q_z", "q_w"),
    3,
    9,
)


def report(**changes: Any) -> BuildReport:
    artifact = Artifact(Path("m.engine"), "engine", INFO.contract, INFO.lineage, "0" * 64)
    return replace(BuildReport(artifact, INFO, (ROW,), SUMMARY, {"build": 61.5}), **changes)


def printed(found: BuildReport, *, layers: bool = False) -> str:
    out = io.StringIO()
    print_build(found, Console(file=out, width=100, color_system=None), layers=layers)
    text = out.getvalue()
    return " ".join(text.split())


def test_the_facts_of_a_build_are_printed() -> None:
    text = printed(report(activations_mib=12.25))
    assert "m.engine (3.0 MiB) in 61.5 s (build 61.5)" in text
    assert "Orin (nvgpu) (SM 8.7), TensorRT 10.3.0, CUDA 12.6" in text
    assert "shape 1x3x512x512" in text and "12.2 MiB of activations" in text
    assert "int8; 1 of 2 parts as the graph asks" in text
    assert "9, 3 of them reformat; 4 Q/DQ not fused: q_x, q_y, q_z and 1 more" in text
    assert "runs on this GPU, TensorRT 10.3.0 alone" in text
    assert "assumed mean assumed" in text
    assert "sparsity" not in text and "conv[0]" not in text


def test_every_part_has_a_row_and_every_odd_state_its_sentence() -> None:
    text = printed(report())
    assert "stage 1 norms fp32 fp16 inside 2 fused" in text
    assert "inside: in one kernel with other parts" in text
    assert "as asked:" not in text


def test_a_part_that_fares_alike_in_several_stages_is_one_row() -> None:
    names = ("stage 1 q", "stage 2 q", "stage 3 q", "head branch 1", "head branch 2", "classifier")
    got = ("int8", "fp16", "int8", "int8", "int8", "int8")
    parts = tuple(
        PartRow(name, "int8", kind, 2, False, "as asked" if kind == "int8" else "other")
        for name, kind in zip(names, got, strict=True)
    )
    text = printed(report(summary=BuildSummary(parts, (), 0, 12)))
    assert "stage 1,3 q int8 int8 as asked 4 stage 2 q int8 fp16 other 2" in text
    assert "head branch 1,2 int8 int8 as asked 4 classifier int8 int8 as asked 2" in text


def test_layers_are_printed_where_asked_brackets_and_all() -> None:
    assert "int8 stage 1 q conv[0] 1 nodes" in printed(report(), layers=True)


def test_what_is_odd_is_printed() -> None:
    text = printed(
        report(
            notes=("a note",),
            known_bad=("wrong in FP16",),
            warnings=tuple(f"warning {index}" for index in range(7)),
            sparsity=Sparsity(1, 2, 16, 64),
        )
    )
    assert "note a note" in text and "known bad wrong in FP16" in text
    assert "warning 4" in text and "warning 5" not in text and "2 more warnings" in text
    assert "1 of 2 weights are 2:4 sparse (25.0 % of their values)" in text


def test_a_range_and_what_may_be_carried_are_said() -> None:
    span = ShapeRange(SHAPE, SHAPE, (4, 3, 1024, 1024))
    info = replace(
        INFO, profiles=(span,), hardware_compatibility="ampere-plus", version_compatible=True
    )
    text = printed(report(info=info))
    assert "1x3x512x512 to 4x3x1024x1024, tuned for 1x3x512x512" in text
    assert "SM 8.0 and later, TensorRT 10.3.0 and later" in text


def test_rebuilt_engines_are_compared() -> None:
    engines = (EngineTimes(2.0, 1.9, 2.2), EngineTimes(2.5, 2.4, 2.6))
    variance = RebuildVariance(engines, ((0.0, 0.0125), (0.0125, 0.0)), 8, 20)
    text = printed(report(variance=variance))
    assert "build 2 2.500 2.400 2.600 1.2500" in text
    assert "slowest over fastest 1.250" in text and "at most 1.2500 % of the pixels" in text


def test_a_foreign_graph_has_no_parts() -> None:
    text = printed(report(summary=BuildSummary((), (), 0, 5)))
    assert "the graph's names tell no parts" in text
