"""Every node that computes has the part it belongs to, in every export of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from segship.data.contract import InputKind, OutputKind
from segship.optimize.export import export
from segship.optimize.quantize.parts import part_of, parts_of

COMPUTES = {"Conv", "MatMul", "Gemm", "LayerNormalization", "Softmax", "Erf", "Gelu", "Relu"}
STAGE = ("patch embed", "norms", "q", "kv", "qk", "pv", "attn proj", "residual", "fc1", "dwconv",
         "gelu", "fc2")  # fmt: skip  # in two lines
ALL = {f"stage {stage} {part}" for stage in (1, 2, 3, 4) for part in STAGE}
SR = {f"stage {stage} sr" for stage in (1, 2, 3)}
HEAD = {*(f"head branch {stage}" for stage in (1, 2, 3, 4)), "head fuse", "classifier"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fold": False},
        {"opset": 20, "dynamic": True},
        {"fold": False, "input_kind": InputKind.UINT8, "output_kind": OutputKind.LABELS},
    ],
    ids=["rewritten", "plain", "gelu as one operator", "plain from pixels to labels"],
)
def test_every_export_has_all_parts(
    tiny_checkpoint: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    export(tiny_checkpoint, tmp_path / "m.onnx", **options)
    model = onnx.load(str(tmp_path / "m.onnx"))
    parts = parts_of(model)
    assert set(parts) == ALL | SR | HEAD
    named = {name for names in parts.values() for name in names}
    lost = [
        node.name
        for node in model.graph.node
        if node.op_type in COMPUTES and node.name not in named
    ]
    assert not lost
    by_name = {node.name: node.op_type for node in model.graph.node}
    kinds = {by_name[name] for name in named}
    assert not kinds & {"Constant", "Shape", "Reshape", "Transpose", "Concat", "Identity"}


@pytest.mark.parametrize("fold", [True, False])
def test_branches_with_relu_have_parts_too(
    flavour_file: Callable[..., Path], tmp_path: Path, fold: bool
) -> None:
    export(flavour_file("mmseg"), tmp_path / "m.onnx", fold=fold, size_px=(64, 64))
    assert set(parts_of(onnx.load(str(tmp_path / "m.onnx")))) >= HEAD


def test_parts_come_in_forward_order(tiny_onnx: Path) -> None:
    order = list(parts_of(onnx.load(str(tiny_onnx))))
    assert order[0] == "stage 1 patch embed"
    assert order[-1] == "classifier"
    assert order.index("stage 1 q") < order.index("stage 1 qk") < order.index("stage 1 pv")
    assert order.index("stage 1 fc2") < order.index("stage 2 patch embed")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("/encoder/stages.2/blocks.11/attn/MatMul", "stage 3 qk"),
        ("/encoder/stages.2/blocks.11/attn/MatMul_1", "stage 3 pv"),
        ("/encoder/stages.2/blocks.11/attn/k/MatMul", "stage 3 kv"),
        ("/encoder/stages.0/blocks.0/ffn/fc1/Constant", None),
        ("/encoder/stages.0/norm/LayerNormalization_output_0_QuantizeLinear", None),
        ("/depth/classifier/Conv", "depth classifier"),
        ("/depth/branches.3/Conv", "depth branch 4"),
        ("/segmentation/Resize_2", "head fuse"),
        ("/decode_head/linear_c4/MatMul", None),
        ("Conv_0", None),
        ("", None),
    ],
)
def test_part_of_a_name(name: str, part: str | None) -> None:
    assert part_of(name) == part
