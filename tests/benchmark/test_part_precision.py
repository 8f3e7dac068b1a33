"""The precision of a part is that of its products; a graph of foreign names has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from segship.benchmark.part_precision import part_precisions
from segship.common.errors import InputError

BLOCKS = "/encoder/stages.0/blocks."


def quantized(name: str) -> list[onnx.NodeProto]:
    """Return the Q/DQ pair that makes `name` into `name`_dq."""
    return [
        helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name}_q"]),
        helper.make_node("DequantizeLinear", [f"{name}_q", "scale", "zero"], [f"{name}_dq"]),
    ]


def write_graph(path: Path) -> Path:
    """Write q in INT8 in one block of two, fc1 in INT8 with a float bias, and a residual."""
    nodes = [
        *quantized("x"),
        helper.make_node("DequantizeLinear", ["w8", "scale", "zero"], ["w_dq"]),
        helper.make_node("MatMul", ["x_dq", "w_dq"], ["a"], name=f"{BLOCKS}0/attn/q/MatMul"),
        helper.make_node("MatMul", ["a", "w"], ["b"], name=f"{BLOCKS}1/attn/q/MatMul"),
        helper.make_node("MatMul", ["x_dq", "w_dq"], ["c"], name=f"{BLOCKS}0/ffn/fc1/MatMul"),
        helper.make_node("Add", ["c", "w"], ["d"], name=f"{BLOCKS}0/ffn/fc1/Add"),
        helper.make_node("Add", ["b", "d"], ["y"], name=f"{BLOCKS}0/Add"),
    ]
    weights = {
        "w": np.eye(4, dtype=np.float32),
        "w8": np.eye(4, dtype=np.int8),
        "scale": np.float32(0.1),
        "zero": np.int8(0),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


def test_products_decide_and_blocks_may_differ(tmp_path: Path) -> None:
    assert part_precisions(write_graph(tmp_path / "g.onnx")) == {
        "stage 1 q": "fp32+int8",
        "stage 1 fc1": "int8",
        "stage 1 residual": "fp32",
    }


def test_an_export_is_float_in_forward_order(tiny_onnx: Path) -> None:
    found = part_precisions(tiny_onnx)
    assert set(found.values()) == {"fp32"}
    names = list(found)
    assert names[0] == "stage 1 patch embed" and names[-1] == "classifier"
    assert names.index("stage 1 fc2") < names.index("stage 2 q") < names.index("stage 4 fc2")


def test_foreign_files_are_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    model = onnx.load(str(tiny_onnx))
    for index, node in enumerate(model.graph.node):
        node.name = f"n{index}"
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(InputError, match="names no part"):
        part_precisions(tmp_path / "foreign.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="whole ONNX model"):
        part_precisions(tmp_path / "broken.onnx")
