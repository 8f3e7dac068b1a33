"""What a build reads off an ONNX graph: precision per node, 2:4 weights, the DLA's reasons."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from segship.common.errors import InputError
from segship.optimize.tensorrt.dla import refuse_dla
from segship.optimize.tensorrt.layer_norm import take_apart
from segship.optimize.tensorrt.precision import GraphPrecision, graph_precision
from segship.optimize.tensorrt.source import name_nodes
from segship.optimize.tensorrt.sparsity import Sparsity, count_sparsity, is_two_of_four
from segship.runtimes.session import TensorInfo
from segship.tests.optimize.quantize_graphs import graph_of, kinds, run

X = TensorInfo("x", "float32", (1, 4, 8, 8))
NAMES = ("/encoder/stages.0/blocks.0/ffn/fc1/Conv", "/encoder/stages.0/blocks.0/ffn/fc2/Conv")


def conv(name: str, source: str, weight: str, made: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, weight], [made], name=name)


def quantize(source: str, made: str) -> list[onnx.NodeProto]:
    middle = f"{source}_q"
    return [
        helper.make_node("QuantizeLinear", [source, "s", "z"], [middle], name=f"q_{source}"),
        helper.make_node("DequantizeLinear", [middle, "s", "z"], [made], name=f"dq_{source}"),
    ]


def weights(**more: NDArray[Any]) -> dict[str, NDArray[Any]]:
    scale: dict[str, NDArray[Any]] = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    return {"w": np.ones((4, 4, 1, 1), np.float32), **scale, **more}


def half_graph() -> onnx.ModelProto:
    """x → cast to FP16 → fc1 in FP16 → cast → softmax in FP32 → out."""
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16, name="down"),
        conv(NAMES[0], "h", "w16", "c"),
        helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT, name="up"),
        helper.make_node("Softmax", ["f"], ["out"], name="/encoder/stages.0/blocks.0/attn/Softmax"),
    ]
    return graph_of(nodes, {"w16": np.ones((4, 4, 1, 1), np.float16)}, X.shape)


def qdq_graph() -> onnx.ModelProto:
    """x → Q/DQ → fc1 with Q/DQ weights → relu → Q/DQ → fc2 in float → out."""
    nodes = [
        *quantize("x", "xd"),
        *quantize("w", "wd"),
        conv(NAMES[0], "xd", "wd", "c"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        *quantize("r", "rd"),
        conv(NAMES[1], "rd", "w", "out"),
    ]
    return graph_of(nodes, weights(), X.shape)


def test_a_float_graph_is_fp32_everywhere() -> None:
    found = graph_precision(graph_of([conv(NAMES[0], "x", "w", "out")], weights(), X.shape))
    assert (found.kind, found.quantizers) == ("fp32", ())
    assert found.parts() == {"stage 1 fc1": "fp32"}
    assert found.has("fp32") and not found.has("fp16")


def test_the_types_of_a_half_graph_are_its_own() -> None:
    found = graph_precision(half_graph())
    assert found.kind == "fp16"
    assert found.parts() == {"stage 1 fc1": "fp16", "stage 1 qk": "fp32"}
    assert "down" not in found.nodes  # a cast computes nothing


def test_int8_is_where_every_operand_is_dequantized() -> None:
    found = graph_precision(qdq_graph())
    assert found.kind == "int8"
    assert found.quantizers == ("q_x", "dq_x", "q_r", "dq_r")  # those of the weight are constants
    fc1, relu, fc2 = (found.nodes[name] for name in (NAMES[0], "relu", NAMES[1]))
    assert (fc1.precision, fc1.near_int8, fc1.returned) == ("int8", True, "fp32")
    assert (relu.precision, relu.near_int8, relu.returned) == ("fp32", False, None)
    assert (fc2.precision, fc2.near_int8) == ("fp32", True)  # its weight is in float
    assert found.parts() == {"stage 1 fc1": "int8", "stage 1 fc2": "fp32"}


def test_layout_between_dequantizer_and_product_does_not_hide_it() -> None:
    nodes = [
        *quantize("x", "xd"),
        *quantize("w", "wd"),
        helper.make_node("Transpose", ["xd"], ["xt"], perm=[0, 1, 3, 2], name="t"),
        conv(NAMES[0], "xt", "wd", "out"),
    ]
    found = graph_precision(graph_of(nodes, weights(), X.shape))
    assert found.nodes[NAMES[0]].precision == "int8"


def test_casts_between_quantizers_and_half_products_do_not_hide_int8() -> None:
    """Before opset 19 Q/DQ are float32, and an FP16 product between them stands between casts."""
    nodes = [
        *quantize("x", "xd"),
        *quantize("w", "wd"),
        helper.make_node("Cast", ["xd"], ["xh"], to=TensorProto.FLOAT16, name="a"),
        helper.make_node("Cast", ["wd"], ["wh"], to=TensorProto.FLOAT16, name="b"),
        conv(NAMES[0], "xh", "wh", "c"),
        helper.make_node("Cast", ["c"], ["cf"], to=TensorProto.FLOAT, name="d"),
        *quantize("cf", "out"),
    ]
    found = graph_precision(graph_of(nodes, weights(), X.shape)).nodes[NAMES[0]]
    assert (found.precision, found.returned) == ("int8", None)


def test_nodes_without_a_name_get_one_and_the_others_keep_theirs() -> None:
    model = graph_of(
        [conv(NAMES[0], "x", "w", "c"), conv("b", "c", "w", "out")], weights(), X.shape
    )
    model.graph.node[1].name = ""
    name_nodes(model)
    assert [node.name for node in model.graph.node] == [NAMES[0], "Conv_1"]
    model.graph.node[1].name = NAMES[0]
    name_nodes(model)
    assert [node.name for node in model.graph.node] == [NAMES[0], f"{NAMES[0]}_1"]


SPARSE = np.tile(np.array([1, 0, 0, 2], np.float32), 4)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 2, 0, 0], True), ([0, 0, 0, 0], True), ([1, 2, 3, 0], False), ([0, 0, 1, 2], True)],
)
def test_two_of_four_counts_non_zeros(values: list[int], expected: bool) -> None:
    assert is_two_of_four(np.array(values)) is expected


def sparsity_of(node: onnx.NodeProto, weight: NDArray[np.float32]) -> Sparsity:
    shape = (1, 4, 8, 8) if node.op_type == "Conv" else (1, 4)
    return count_sparsity(graph_of([node], weights(w=weight), shape))


def test_a_convolution_is_sparse_along_its_input_channels() -> None:
    node = conv("c", "x", "w", "out")
    along_inputs = SPARSE.reshape(4, 4, 1, 1)
    assert sparsity_of(node, along_inputs) == Sparsity(1, 1, 16, 16)
    along_outputs = along_inputs.transpose(1, 0, 2, 3).copy()
    assert sparsity_of(node, along_outputs) == Sparsity(0, 1, 0, 16)


def test_a_linear_layer_is_sparse_along_its_rows() -> None:
    rows = SPARSE.reshape(4, 4).T.copy()  # (K, N): zeros along K
    matmul = helper.make_node("MatMul", ["x", "w"], ["out"], name="m")
    assert sparsity_of(matmul, rows).sparse_tensors == 1
    assert sparsity_of(matmul, rows.T.copy()).sparse_tensors == 0
    gemm = helper.make_node("Gemm", ["x", "w"], ["out"], name="g", transB=1)
    assert sparsity_of(gemm, rows.T.copy()).sparse_tensors == 1


def test_a_depthwise_weight_cannot_be_sparse() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["out"], name="d", group=4)
    assert sparsity_of(node, np.zeros((4, 1, 1, 1), np.float32)) == Sparsity(0, 0, 0, 0)


def test_weights_are_found_behind_quantizers() -> None:
    nodes = [*quantize("w", "wd"), conv("c", "x", "wd", "out")]
    model = graph_of(nodes, weights(w=SPARSE.reshape(4, 4, 1, 1)), X.shape)
    assert str(count_sparsity(model)) == "1 of 1 weights are 2:4 sparse (100.0 % of their values)"


def refused(
    model: onnx.ModelProto, version: str = "10.3.0", image: TensorInfo = X, cores: int = 2
) -> str:
    with pytest.raises(InputError) as caught:
        refuse_dla(model, image, graph_precision(model), version, cores)
    return str(caught.value)


def on_dla() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16, name="down"),
        conv("a", "h", "w16", "c"),
        helper.make_node("Relu", ["c"], ["out"], name="r"),
    ]
    return graph_of(nodes, {"w16": np.ones((4, 4, 1, 1), np.float16)}, X.shape)


def test_a_convolutional_half_graph_may_use_the_dla() -> None:
    model = on_dla()
    refuse_dla(model, X, graph_precision(model), "10.3.0", 2)
    assert "this device has none" in refused(model, cores=0)


def test_the_dla_is_refused_with_the_operators_it_lacks() -> None:
    text = refused(half_graph())
    assert "it has no Softmax (1)" in text and "leave out --dla" in text


@pytest.mark.parametrize("version", ["10.8.0", "10.13.0", "11.0.0", "11.4.0"])
def test_releases_without_dla_are_named(version: str) -> None:
    assert f"TensorRT {version} has none" in refused(on_dla(), version)


@pytest.mark.parametrize("version", ["8.5.3", "8.6.0", "10.3.0.26", "10.7.0", "11.4.1"])
def test_releases_with_dla_are_not(version: str) -> None:
    model = on_dla()
    refuse_dla(model, X, graph_precision(model), version, 1)


def test_free_dimensions_fp32_and_quantizers_have_their_own_reasons() -> None:
    free = TensorInfo("x", "float32", ("batch", 4, 8, 8))
    assert "no free dimensions" in refused(on_dla(), image=free)
    plain = graph_of([conv("a", "x", "w", "out")], weights(), X.shape)
    assert "the graph in FP32" in refused(plain)
    assert "no Q/DQ" in refused(qdq_graph())


def test_an_empty_graph_precision_is_fp32() -> None:
    assert GraphPrecision({}).kind == "fp32"


LN = "/encoder/stages.0/blocks.0/norm1/LayerNormalization"


def norm_graph(kind: Any, opset: int, axis: int = -1, bias: bool = True) -> onnx.ModelProto:
    """x → LayerNormalization of the given type → out, between casts where it is FP16."""
    half = kind == np.float16
    rng = np.random.default_rng(0)
    inputs = ["h" if half else "x", "scale", *(["bias"] if bias else [])]
    made = "n" if half else "out"
    norm = helper.make_node("LayerNormalization", inputs, [made], name=LN, axis=axis, epsilon=1e-3)
    nodes = [norm]
    if half:
        nodes.insert(0, helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16, name="a"))
        nodes.append(helper.make_node("Cast", ["n"], ["out"], to=TensorProto.FLOAT, name="b"))
    shape = (6,) if axis == -1 else (5, 6)
    constants = {"scale": rng.normal(size=shape).astype(kind)}
    if bias:
        constants["bias"] = rng.normal(size=shape).astype(kind)
    return graph_of(nodes, constants, (2, 5, 6), opset=opset)


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize(("axis", "bias"), [(-1, True), (-1, False), (1, True), (-2, True)])
def test_a_norm_taken_apart_computes_the_same(opset: int, axis: int, bias: bool) -> None:
    model = norm_graph(np.float32, opset, axis, bias)
    pixels = np.random.default_rng(1).normal(3, 5, (2, 5, 6)).astype(np.float32)
    (expected,) = run(model, x=pixels)
    assert take_apart(model) == 1
    assert not kinds(model, "LayerNormalization")
    onnx.checker.check_model(model, full_check=True)
    (found,) = run(model, x=pixels)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)  # float32 rounding


def test_a_half_norm_taken_apart_does_not_overflow() -> None:
    model = norm_graph(np.float16, 17)
    assert take_apart(model) == 1
    onnx.checker.check_model(model, full_check=True)
    pixels = np.linspace(-1000, 1000, 60, dtype=np.float32).reshape(2, 5, 6)
    (found,) = run(model, x=1000 * pixels / np.abs(pixels).max())  # squares reach 1e6 > 65504
    assert np.isfinite(found).all()
    types = graph_precision(model)
    assert {node.precision for name, node in types.nodes.items() if name.startswith(LN)} == {"fp32"}


def test_pieces_belong_to_the_part_of_their_norm() -> None:
    model = norm_graph(np.float32, 17)
    take_apart(model)
    assert graph_precision(model).parts() == {"stage 1 norms": "fp32"}
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)
