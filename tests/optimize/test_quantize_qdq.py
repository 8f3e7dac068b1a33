"""Q/DQ in the graph: the numbers it computes, and the form each target asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from segship.common.errors import InputError
from segship.optimize.quantize.edges import quantized_tensors
from segship.optimize.quantize.plan import QuantForm, make_plan
from segship.optimize.quantize.profile import read_profile
from segship.optimize.quantize.qdq import insert_qdq
from segship.tests.optimize.quantize_graphs import (
    constant,
    graph_of,
    kinds,
    ranges_of,
    rounded,
    run,
)

RANDOM = np.random.default_rng(3)
PIXELS = RANDOM.uniform(-5, 5, (1, 4, 5, 6)).astype(np.float32)  # beyond the range of ±4


def quantized(
    model: onnx.ModelProto, form: QuantForm | None = None, low: float = -4.0, high: float = 4.0
) -> onnx.ModelProto:
    """`model` with every activation on [low, high], checked."""
    plan = make_plan(model, form)
    result = insert_qdq(model, ranges_of(quantized_tensors(model, plan), low, high), plan)
    onnx.checker.check_model(result, full_check=True)
    return result


def convolution() -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:
    """A 1×1 convolution with channels of very different size, and a channel of zeros."""
    weight = RANDOM.normal(size=(3, 4, 1, 1)).astype(np.float32)
    weight[1] *= 100
    weight[2] = 0
    bias = np.array([1.0, -2.0, 0.5], np.float32)
    node = helper.make_node("Conv", ["x", "w", "b"], ["out"])
    return graph_of([node], {"w": weight, "b": bias}, [1, 4, "h", "w"]), weight, bias


def expected_convolution(weight: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    step = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / np.float32(127)
    small = rounded(weight, np.where(step > 0, step, 1))
    return np.asarray(np.einsum("ochw,bcij->boij", small, x) + bias[:, None, None])


@pytest.mark.parametrize("stored", ["int8", "float32"])
def test_convolution_computes_what_the_definition_says(stored: str) -> None:
    model, weight, bias = convolution()
    result = quantized(model, QuantForm(stored=stored))
    wanted = expected_convolution(weight, bias, rounded(PIXELS, np.float32(4 / 127)))
    # the kernel may sum in another order: float32 rounding of sums of up to 400
    np.testing.assert_allclose(run(result, x=PIXELS)[0], wanted, rtol=1e-5, atol=2e-4)


def test_product_with_a_matrix_has_a_scale_per_column() -> None:
    weight = RANDOM.normal(size=(6, 5)).astype(np.float32) * np.logspace(-2, 2, 5, dtype=np.float32)
    model = graph_of([helper.make_node("MatMul", ["x", "w"], ["out"])], {"w": weight}, [2, 6])
    result = quantized(model)
    (weights,) = [item for item in kinds(result, "DequantizeLinear") if item.attribute]
    assert weights.attribute[0].name == "axis" and weights.attribute[0].i == 1
    x = RANDOM.uniform(-5, 5, (2, 6)).astype(np.float32)
    step = np.abs(weight).max(axis=0) / np.float32(127)
    wanted = rounded(x, np.float32(4 / 127)) @ rounded(weight, step)
    # float32 rounding of sums of up to 2000
    np.testing.assert_allclose(run(result, x=x)[0], wanted, rtol=1e-5, atol=1e-3)


def test_transposed_gemm_has_a_scale_per_row() -> None:
    weight = RANDOM.normal(size=(5, 6)).astype(np.float32)
    node = helper.make_node("Gemm", ["x", "w"], ["out"], transB=1)
    result = quantized(graph_of([node], {"w": weight}, [2, 6]))
    assert constant(result, "w_axis0_scale").shape == (5,)
    np.testing.assert_allclose(
        constant(result, "w_axis0_scale"), np.abs(weight).max(axis=1) / 127, rtol=1e-6
    )  # rtol: one float32 division


def test_weights_are_stored_once_and_small() -> None:
    weight = RANDOM.normal(size=(6, 6)).astype(np.float32)
    nodes = [
        helper.make_node("Identity", ["w"], ["same"]),
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("MatMul", ["b", "same"], ["out"]),
    ]
    result = quantized(graph_of(nodes, {"w": weight}, [2, 6]))
    assert "w" not in {item.name for item in result.graph.initializer}
    assert not kinds(result, "Identity")
    readers = [node.input[1] for node in kinds(result, "MatMul")]
    assert readers[0] == readers[1]
    kept = [item for item in result.graph.initializer if item.data_type == TensorProto.INT8]
    assert sum(len(item.raw_data) for item in kept if item.dims) == 2 * (36 + 6)


def test_tensor_read_through_layouts_is_quantized_once() -> None:
    weight = np.eye(4, dtype=np.float32)
    kernel = weight.reshape(4, 4, 1, 1)
    nodes = [
        helper.make_node("LayerNormalization", ["x", "g"], ["n"], name="norm"),
        helper.make_node("MatMul", ["n", "w"], ["q"], name="q"),
        helper.make_node("Transpose", ["n"], ["t"], perm=[0, 2, 1], name="turn"),
        helper.make_node("Reshape", ["t", "shape"], ["m"], name="map"),
        helper.make_node("Conv", ["m", "k"], ["s"], name="sr"),
        helper.make_node("Add", ["q", "q"], ["out"], name="sum"),
    ]
    constants = {"g": np.ones(4, np.float32), "w": weight, "k": kernel}
    constants["shape"] = np.array([1, 4, 2, 3])
    model = graph_of(nodes, constants, [1, 6, 4], ("out", "s"))
    assert quantized_tensors(model, make_plan(model)) == {"n": (("q", 0), ("turn", 0))}
    assert len(kinds(quantized(model), "QuantizeLinear")) == 1


def test_layout_with_a_float_reader_stays_in_float() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0], name="turn"),
        helper.make_node("MatMul", ["t", "w"], ["a"], name="product"),
        helper.make_node("Add", ["t", "t"], ["b"], name="sum"),
    ]
    model = graph_of(nodes, {"w": np.eye(3, dtype=np.float32)}, [3, 3], ("a", "b"))
    assert quantized_tensors(model, make_plan(model)) == {"t": (("product", 0),)}
    result = quantized(model)
    x = RANDOM.uniform(-1, 1, (3, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(result, x=x)[1], 2 * x.T)


def skip_connection(behind: str) -> onnx.ModelProto:
    """x → convolution → + x → ReLU → `behind`."""
    kernel = RANDOM.normal(size=(4, 4, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], name="first"),
        helper.make_node("Add", ["c", "x"], ["s"], name="sum"),
        helper.make_node("Relu", ["s"], ["r"], name="relu"),
        helper.make_node(behind, ["r", "k"] if behind == "Conv" else ["r"], ["out"], name="last"),
    ]
    return graph_of(nodes, {"k": kernel}, [1, 4, 5, 6])


def test_residual_input_is_quantized_before_a_quantizer() -> None:
    model = skip_connection("Conv")
    edges = quantized_tensors(model, make_plan(model))
    assert edges["x"] == (("first", 0), ("sum", 1))
    assert "c" not in edges
    without = quantized_tensors(model, make_plan(model, QuantForm(residual=False)))
    assert without["x"] == (("first", 0),)


def test_residual_input_before_float_stays_in_float() -> None:
    model = skip_connection("Sigmoid")
    assert quantized_tensors(model, make_plan(model)) == {"x": (("first", 0),)}


def test_unsigned_and_asymmetric_activations() -> None:
    model, weight, bias = convolution()
    x = np.abs(PIXELS)
    unsigned = quantized(model, QuantForm(unsigned=True), low=0.0)
    assert constant(unsigned, "x_zero_point").dtype == np.uint8
    wanted = expected_convolution(weight, bias, rounded(x, np.float32(4 / 255), low=0))
    # float32 rounding of sums of up to 2000
    np.testing.assert_allclose(run(unsigned, x=x)[0], wanted, rtol=1e-5, atol=1e-3)
    assert constant(quantized(model, QuantForm(unsigned=True)), "x_zero_point").dtype == np.int8

    skewed = quantized(model, QuantForm(symmetric=False), low=-1.0, high=4.0)
    assert constant(skewed, "x_zero_point") == 51  # -1 of [-1, 4] in 255 steps
    step = np.float32(5 / 255)
    through = (np.clip(np.rint(PIXELS / step) + 51, 0, 255) - 51) * step
    wanted = expected_convolution(weight, bias, through.astype(np.float32))
    np.testing.assert_allclose(run(skewed, x=PIXELS)[0], wanted, rtol=1e-5, atol=1e-3)  # as above


def test_tensor_that_is_always_zero_does_no_harm() -> None:
    model, _, bias = convolution()
    result = quantized(model, low=0.0, high=0.0)
    out = run(result, x=np.zeros_like(PIXELS))[0]
    np.testing.assert_array_equal(out, np.broadcast_to(bias[:, None, None], out.shape))


@pytest.mark.parametrize("high", [None, float("nan"), float("inf")])
def test_range_that_is_missing_or_not_finite_is_refused(high: float | None) -> None:
    model, _, _ = convolution()
    known = ranges_of(() if high is None else ["x"], high=high or 0.0)
    with pytest.raises(InputError, match="finite calibrated range of 'x'"):
        insert_qdq(model, known, make_plan(model))


def test_weight_that_is_not_finite_is_refused() -> None:
    weight = np.full((3, 3), np.nan, np.float32)
    model = graph_of(
        [helper.make_node("MatMul", ["x", "w"], ["out"], name="p")], {"w": weight}, [2, 3]
    )
    with pytest.raises(InputError, match="finite weights of p"):
        insert_qdq(model, ranges_of(["x"]), make_plan(model))


def test_quantized_outputs_become_integer_kernels_of_onnx_runtime(tmp_path: Path) -> None:
    import onnxruntime

    model = skip_connection("Conv")
    form = QuantForm(outputs=True, residual=False)
    names = quantized_tensors(model, make_plan(model, form))
    assert set(names) == {"x", "c", "r"}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    content = quantized(model, form).SerializeToString()
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(options.optimized_model_filepath)
    assert len(kinds(optimized, "QLinearConv")) == 1


def test_integer_bias_keeps_the_value() -> None:
    model, weight, bias = convolution()
    model.graph.node[0].output[0] = "c"
    model.graph.node.append(helper.make_node("Relu", ["c"], ["out"], name="relu"))
    result = quantized(model, QuantForm(outputs=True), low=-500.0, high=500.0)
    (name,) = [node.input[0] for node in kinds(result, "DequantizeLinear") if "bias" in node.name]
    step = constant(result, name.replace("quantized", "scale"))
    assert constant(result, name).dtype == np.int32
    np.testing.assert_allclose(constant(result, name) * step, bias, atol=float(step.max()) / 2)


@pytest.fixture(scope="module")
def model(tiny_onnx: Path) -> onnx.ModelProto:
    """The tiny SegFormer in TensorRT 8's form."""
    return quantized(onnx.load(str(tiny_onnx)), read_profile("tensorrt8").form)


class TestTensorRtForm:
    """What TensorRT's guide asks of a graph with Q/DQ, on a whole SegFormer."""

    def test_zero_points_are_zero_and_signed(self, model: onnx.ModelProto) -> None:
        for node in (*kinds(model, "QuantizeLinear"), *kinds(model, "DequantizeLinear")):
            zero = constant(model, node.input[2])
            assert zero.dtype == np.int8 and not zero.any()

    def test_every_quantizer_feeds_one_dequantizer(self, model: onnx.ModelProto) -> None:
        made = [node.output[0] for node in kinds(model, "QuantizeLinear")]
        read = [node.input[0] for node in kinds(model, "DequantizeLinear")]
        assert sorted(made) == sorted(read)

    def test_no_bias_is_quantized(self, model: onnx.ModelProto) -> None:
        assert TensorProto.INT32 not in {item.data_type for item in model.graph.initializer}
        dequantized = {node.output[0] for node in kinds(model, "DequantizeLinear")}
        laid_out = {
            node.output[0]: node.input[0]
            for node in model.graph.node
            if node.op_type in ("Reshape", "Transpose")
        }
        for node in kinds(model, "Conv"):
            source = node.input[0]
            while source in laid_out:
                source = laid_out[source]
            assert source in dequantized
        biases = [node.input[2] for node in kinds(model, "Conv") if len(node.input) > 2]
        assert biases and not dequantized.intersection(biases)

    def test_attention_norms_and_outputs_stay_in_float(self, model: onnx.ModelProto) -> None:
        dequantized = {node.output[0] for node in kinds(model, "DequantizeLinear")}
        quantizers = {node.input[0]: node for node in kinds(model, "QuantizeLinear")}
        for node in (*kinds(model, "Softmax"), *kinds(model, "LayerNormalization")):
            assert node.input[0] not in dequantized
        for node in kinds(model, "MatMul"):
            products = [name in dequantized for name in node.input]
            assert all(products) or not any(products)
            if not any(products):
                assert node.output[0] not in quantizers
        assert not {item.name for item in model.graph.output} & set(quantizers)

    def test_weights_have_a_scale_per_channel_and_activations_one(
        self, model: onnx.ModelProto
    ) -> None:
        floats = {item.name for item in model.graph.initializer}
        for node in kinds(model, "QuantizeLinear"):
            ndim = constant(model, node.input[1]).ndim
            assert ndim == (1 if node.input[0] in floats else 0)

    def test_a_norm_is_quantized_at_most_once(self, model: onnx.ModelProto) -> None:
        sources = [node.input[0] for node in kinds(model, "QuantizeLinear")]
        assert len(sources) == len(set(sources))
        norms = [name for name in sources if "LayerNormalization" in name]
        assert len(norms) == 4 * 3 + 3  # norm1, norm2 and the stage's; sr_norm in three stages

    def test_opset_is_one_tensorrt_8_reads(self, model: onnx.ModelProto) -> None:
        assert model.opset_import[0].version <= 17


@pytest.mark.parametrize("stored", ["int8", "float32"])
def test_both_ways_to_store_weights_compute_the_same(tiny_onnx: Path, stored: str) -> None:
    model = onnx.load(str(tiny_onnx))
    one, other = (quantized(model, QuantForm(stored=kind)) for kind in ("int8", stored))
    pixels = RANDOM.normal(size=(1, 3, 64, 96)).astype(np.float32)
    np.testing.assert_array_equal(run(one, pixels=pixels)[0], run(other, pixels=pixels)[0])


def test_the_input_graph_is_left_alone(tiny_onnx: Path) -> None:
    model = onnx.load(str(tiny_onnx))
    before = model.SerializeToString(deterministic=True)
    quantized(model, replace(QuantForm(), everything=True, attention=True))
    assert model.SerializeToString(deterministic=True) == before
