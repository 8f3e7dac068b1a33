"""Which nodes become INT8 and what is said about the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from segship.common.errors import InputError
from segship.optimize.quantize.edges import quantized_tensors
from segship.optimize.quantize.parts import part_of
from segship.optimize.quantize.plan import QuantForm, QuantPlan, make_plan
from segship.optimize.quantize.profile import profile_names, read_profile
from segship.optimize.quantize.qdq import insert_qdq
from segship.tests.optimize.quantize_graphs import graph_of, ranges_of


@pytest.fixture(scope="module")
def model(tiny_onnx: Path) -> onnx.ModelProto:
    return onnx.load(str(tiny_onnx))


def operators(model: onnx.ModelProto, plan: QuantPlan) -> set[str]:
    chosen = set(plan.nodes)
    return {node.op_type for node in model.graph.node if node.name in chosen}


def test_products_become_int8_and_attention_stays(model: onnx.ModelProto) -> None:
    plan = make_plan(model)
    assert operators(model, plan) == {"Conv", "MatMul"}
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    assert set(convolutions) <= set(plan.nodes)
    assert not [part for part in plan.parts if part.endswith(("qk", "pv", "norms"))]
    assert not plan.notes


def test_every_node_left_in_float_has_a_reason(model: onnx.ModelProto) -> None:
    plan = make_plan(model, QuantForm(depthwise=False))
    kept = [item for item in plan.choices if item.precision == "float"]
    reasons = {item.part: item.reason for item in kept if item.operator != "Softmax"}
    assert "attention" in reasons["stage 1 qk"]
    assert "depthwise" in reasons["stage 2 dwconv"]
    assert "norm" in reasons["stage 3 norms"]
    assert all(item.reason for item in plan.choices)


def test_int8_all_reaches_everything(model: onnx.ModelProto) -> None:
    plan = make_plan(model, read_profile("tensorrt8").form_for("int8-all"))
    wanted = {"Conv", "MatMul", "LayerNormalization", "Softmax", "Resize", "Add", "Div", "Mul"}
    assert operators(model, plan) == wanted
    assert set(plan.parts) == {part_of(node.name) for node in model.graph.node} - {None}


@pytest.mark.parametrize("part", ["stage 2 qk", "stage 1 norms", "stage 3 residual", "classifier"])
def test_one_part_alone(model: onnx.ModelProto, part: str) -> None:
    plan = make_plan(model, parts=[part])
    assert plan.parts == (part,)
    assert "Softmax" not in operators(model, plan)


def test_parts_and_nodes_are_excluded_with_their_reason(model: onnx.ModelProto) -> None:
    node = "/segmentation/classifier/Conv"
    plan = make_plan(model, exclude={"stage 4 fc1": "too lossy", node: "the last layer"})
    reasons = {item.node: item.reason for item in plan.choices if item.precision == "float"}
    assert reasons[node] == "the last layer"
    assert reasons["/encoder/stages.3/blocks.0/ffn/fc1/Conv"] == "too lossy"
    assert "stage 4 fc1" not in plan.parts


def test_unknown_part_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(InputError, match="no 'stage 9 q'"):
        make_plan(model, exclude={"stage 9 q": "x"})
    with pytest.raises(InputError, match="no 'fc1'"):
        make_plan(model, parts=["fc1"])


def test_quantized_graph_is_refused(model: onnx.ModelProto) -> None:
    plan = make_plan(model)
    quantized = insert_qdq(model, ranges_of(quantized_tensors(model, plan)), plan)
    with pytest.raises(InputError, match="quantized already"):
        make_plan(quantized)
    with pytest.raises(InputError, match="quantized already"):
        insert_qdq(quantized, ranges_of(()), plan)


def test_foreign_names_are_planned_by_operator() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], kernel_shape=[1, 1]),
        helper.make_node("MatMul", ["a", "a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["out"]),
    ]
    found = graph_of(nodes, {"w": np.ones((3, 3, 1, 1), np.float32)}, [1, 3, 4, 4])
    plan = make_plan(found)
    assert plan.nodes == ("Conv_0",)
    assert "operator" in plan.notes[0]


def test_profiles_are_whole_and_tensorrt_is_symmetric() -> None:
    assert {"cpu-openvino", "cpu-onnxruntime", "tensorrt8", "tensorrt10"} <= set(profile_names())
    for name in profile_names():
        profile = read_profile(name)
        assert profile.pays and profile.facts
        if profile.runtime == "tensorrt":
            form = profile.form
            assert form.symmetric and form.per_channel
            assert not (form.unsigned or form.outputs or form.attention)
    assert read_profile("tensorrt8").form.stored == "float32"
    assert read_profile("tensorrt8").max_opset == 17
    with pytest.raises(InputError, match="cpu-openvino"):
        read_profile("abacus")


def test_unknown_field_of_a_form_is_refused() -> None:
    with pytest.raises(InputError, match="bits"):
        QuantForm.from_dict({"bits": 4})
    with pytest.raises(InputError, match="symmetric"):
        QuantForm.from_dict({"symmetric": 1})
    with pytest.raises(InputError, match="int8 or float32"):
        QuantForm(stored="int4")
