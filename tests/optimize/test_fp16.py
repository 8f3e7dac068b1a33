"""Casts and islands of hand-made graphs, rule by rule, and the graph that rounds as hardware."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from segship.calibration.ranges import Ranges
from segship.common.errors import InputError
from segship.optimize.quantize.fp16 import Fp16Result, to_fp16
from segship.optimize.quantize.fp16_rounding import rounded
from segship.optimize.quantize.islands import HEADROOM, SOFTMAX_LIMIT
from segship.optimize.quantize.not_finite import first_not_finite
from segship.tests.optimize.quantize_graphs import graph_of, kinds, ranges_of, run

FLOAT16_MAX = 65504.0


def peaks(model: onnx.ModelProto, **known: float) -> Ranges:
    """Ranges up to 4, but for the tensors named."""
    names = ["x", *(name for node in model.graph.node for name in node.output)]
    found = ranges_of(names)
    tensors = {
        name: replace(item, minimum=-known.get(name, 4.0), maximum=known.get(name, 4.0))
        for name, item in found.tensors.items()
    }
    return replace(found, tensors=tensors)


def chain(*weights: float, size: int = 2) -> onnx.ModelProto:
    """x → one MatMul with weight·identity after the other; the last makes "out"."""
    names = ["x", *(f"t{index}" for index in range(1, len(weights))), "out"]
    nodes = [
        helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(len(weights))
    ]
    constants = {
        f"w{i}": (value * np.eye(size)).astype(np.float32) for i, value in enumerate(weights)
    }
    return graph_of(nodes, constants, (1, size))


def reasons(result: Fp16Result) -> dict[str, str]:
    return {island.node: island.reason for island in result.islands}


def checked(result: Fp16Result) -> onnx.ModelProto:
    onnx.checker.check_model(result.model, full_check=True)  # types of every edge among it
    return result.model


def half_run(model: onnx.ModelProto, values: Sequence[float]) -> NDArray[Any]:
    pixels = np.array([values], np.float32)
    return run(rounded(model), x=pixels)[0]


def test_a_graph_that_fits_takes_two_casts_and_half_the_constants() -> None:
    model = chain(2.0, 3.0)
    result = to_fp16(model, peaks(model))
    half = checked(result)
    assert (result.islands, result.casts) == ((), 2)
    assert [item.data_type for item in half.graph.initializer] == [TensorProto.FLOAT16] * 2
    assert half.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert half.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert half_run(half, (1.0, 0.5)).tolist() == [[6.0, 3.0]]


def test_free_input_and_output_are_half_precision() -> None:
    model = chain(2.0, 3.0)
    result = to_fp16(model, peaks(model), keep_io=False)
    half = checked(result)
    assert result.casts == 0
    assert half.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    assert half.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    (got,) = run(half, x=np.array([[1.0, 0.5]], np.float16))
    assert got.tolist() == [[6.0, 3.0]]
    assert half_run(half, (1.0, 0.5)).tolist() == [[6.0, 3.0]]


def test_an_overflow_becomes_an_island_of_its_maker_and_its_reader() -> None:
    model = chain(1.0, 1000.0, 1 / 1024, 1.0)
    plain = checked(to_fp16(model, peaks(model)))  # ranges that hide it
    assert not np.isfinite(half_run(plain, (100.0, 1.0))).all()
    result = to_fp16(model, peaks(model, t2=1e5))
    half = checked(result)
    assert reasons(result).keys() == {"MatMul_1", "MatMul_2"}
    assert "makes max |x| 1e+05" in reasons(result)["MatMul_1"]
    assert "reads max |x| 1e+05" in reasons(result)["MatMul_2"]
    assert result.casts == 4  # input, into and out of the island, output
    assert half_run(half, (100.0, 1.0))[0, 0] == np.float16(100 * 1000 / 1024)


def test_the_limit_leaves_headroom() -> None:
    model = chain(1.0, 1.0)
    limit = FLOAT16_MAX / HEADROOM
    assert not to_fp16(model, peaks(model, t1=limit)).islands
    assert len(to_fp16(model, peaks(model, t1=1.01 * limit)).islands) == 2


def test_a_tensor_read_by_both_is_cast_once_for_each() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        *(helper.make_node("Mul", ["a", "c"], [name]) for name in ("b1", "b2", "b3")),
        helper.make_node("Sum", ["b1", "b2", "b3"], ["out"]),
    ]
    model = graph_of(nodes, {"c": np.float32(2).reshape(())}, (1, 2))
    result = to_fp16(model, peaks(model), islands=("Mul_1", "Mul_2"))
    half = checked(result)
    casts = [node.input[0] for node in kinds(half, "Cast")]
    # x, a to FP32 once for two readers, b1 and b2 back, out
    assert sorted(casts) == ["a", "b1", "b2", "out_fp16", "x"]
    # the constant is needed in both
    assert sorted(item.data_type for item in half.graph.initializer) == [1, 10]
    assert half_run(half, (1.0, -1.0)).tolist() == [[6.0, 0.0]]


@pytest.mark.parametrize(
    ("weight", "reason"),
    [(7e4, "max |w| 7e+04 passes 65504"), (1e-6, "lose digits"), (1e-9, "lose digits")],
)
def test_constants_that_half_precision_cannot_hold(weight: float, reason: str) -> None:
    model = chain(1.0, weight)
    result = to_fp16(model, peaks(model))
    checked(result)
    assert reasons(result).keys() == {"MatMul_1"}
    assert reason in reasons(result)["MatMul_1"]


def test_activations_that_are_all_subnormal() -> None:
    model = chain(1.0, 1.0)
    result = to_fp16(model, peaks(model, t1=2.0**-15))
    assert all("subnormal" in reason for reason in reasons(result).values())
    assert len(result.islands) == 2
    assert not to_fp16(model, peaks(model, t1=0.0)).islands  # nothing is lost of nothing


def test_a_layer_norm_written_out_sums_in_single_precision() -> None:
    """Mean of 32 squares up to 2000: no value passes 65504 / 4, the running sum does."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["mean"], axes=[1]),
        helper.make_node("Add", ["mean", "eps"], ["shifted"]),
        helper.make_node("Sqrt", ["shifted"], ["root"]),
        helper.make_node("Div", ["x", "root"], ["out"]),
    ]
    model = graph_of(nodes, {"eps": np.float32(1e-6).reshape(())}, (1, 32))
    result = to_fp16(model, peaks(model, square=2000.0, mean=2000.0))
    checked(result)
    assert reasons(result)["ReduceMean_1"] == "a sum of 32 terms can reach 6.4e+04"
    assert "lose digits" in reasons(result)["Add_2"]  # ε is subnormal
    assert not {"Mul_0", "Div_4"} & reasons(result).keys()
    assert "ReduceMean_1" not in reasons(to_fp16(model, peaks(model, square=200.0)))


def layer_norm(stash: int) -> onnx.ModelProto:
    node = helper.make_node("LayerNormalization", ["x", "gain"], ["out"], stash_type=stash)
    return graph_of([node], {"gain": np.ones(4, np.float32)}, (1, 4))


def test_layer_norm_as_one_operator_is_no_island_and_wide_ones_are_noted() -> None:
    model = layer_norm(TensorProto.FLOAT)
    result = to_fp16(model, peaks(model, x=300.0))
    checked(result)
    assert not result.islands
    assert any("1 LayerNorms read |x| over 255" in note for note in result.notes)
    # 300² overflows FP16: the statistics are FP32 by the operator's definition
    got = half_run(result.model, (300.0, -300.0, 300.0, -300.0))
    assert got.tolist() == [[1.0, -1.0, 1.0, -1.0]]


def test_layer_norm_with_statistics_in_half_precision_is_an_island() -> None:
    model = layer_norm(TensorProto.FLOAT16)
    assert "statistics" in reasons(to_fp16(model, peaks(model)))["LayerNormalization_0"]


def test_large_scores_keep_their_product_and_softmax_in_single_precision() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["p"]),
        helper.make_node("MatMul", ["p", "v"], ["out"]),
    ]
    constants = {name: np.eye(2, dtype=np.float32) for name in ("w", "v")}
    model = graph_of(nodes, constants, (1, 2))
    result = to_fp16(model, peaks(model, scores=SOFTMAX_LIMIT))
    checked(result)
    assert reasons(result).keys() == {"MatMul_0", "Softmax_1"}
    assert "steps of 1 in FP16" in reasons(result)["Softmax_1"]
    assert not to_fp16(model, peaks(model, scores=SOFTMAX_LIMIT - 1)).islands


def test_layout_between_islands_costs_no_casts() -> None:
    nodes = [
        helper.make_node("Exp", ["x"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[1, 0]),
        helper.make_node("Log", ["b"], ["c"]),
        helper.make_node("Transpose", ["c"], ["out"], perm=[1, 0]),
    ]
    model = graph_of(nodes, {}, (1, 2))
    result = to_fp16(model, peaks(model), islands=("Exp_0", "Log_2"))
    assert reasons(result)["Transpose_1"].startswith("lies between")
    assert "Transpose_3" not in reasons(result)
    assert sum(node.op_type == "Cast" for node in result.model.graph.node) == result.casts == 2


def test_an_operator_without_a_half_form_and_one_that_only_looks_at_sizes() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Reshape", ["x", "shape"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["out"]),
    ]
    model = graph_of(nodes, {}, (1, 2))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[2].op_type, model.graph.node[2].domain = "Own", "own"
    result = to_fp16(model, peaks(model))
    assert reasons(result) == {"Neg_2": "the operator has no FP16 form"}
    assert [node.input[0] for node in kinds(result.model, "Shape")] == ["x"]


def test_resize_keeps_its_scales() -> None:
    node = helper.make_node("Resize", ["x", "", "scales"], ["out"], mode="nearest")
    constants = {"scales": np.array([1, 1, 2, 2], np.float32)}
    model = graph_of([node], constants, (1, 1, 2, 2))
    half = checked(to_fp16(model, peaks(model)))
    assert [item.data_type for item in half.graph.initializer] == [TensorProto.FLOAT]


def test_what_is_refused() -> None:
    model = chain(1.0, 1.0)
    half = to_fp16(model, peaks(model)).model
    with pytest.raises(InputError, match="16 bits already"):
        to_fp16(half, peaks(model))
    with pytest.raises(InputError, match="calibrated range of 't1'"):
        to_fp16(model, ranges_of(["x", "out"]))
    with pytest.raises(InputError, match="no 'stage 9 fc1'"):
        to_fp16(model, peaks(model), islands=("stage 9 fc1",))


def test_the_model_given_stays_as_it_is() -> None:
    model = chain(1.0, 7e4)
    before = model.SerializeToString()
    to_fp16(model, peaks(model, t1=1e6))
    assert model.SerializeToString() == before


def test_rounding_shows_what_onnx_runtime_hides() -> None:
    model = chain(300.0, 1 / 512)
    half = to_fp16(model, peaks(model)).model
    pixels = np.array([[300.0, 1.1]], np.float32)
    (hidden,) = run(half, x=pixels)
    assert np.isfinite(hidden).all()  # 90000 between two nodes, wider than FP16
    assert (
        np.isinf(half_run(half, (300.0, 1.1))).any() or np.isnan(half_run(half, (300.0, 1.1))).any()
    )
    assert first_not_finite(half, pixels) == "t1"
    assert first_not_finite(model, pixels) == ""


def test_rounding_is_numpys_at_every_result() -> None:
    random = np.random.default_rng(3)
    first, second = (random.normal(size=(8, 8)).astype(np.float32) for _ in range(2))
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["out"]),
    ]
    model = graph_of(nodes, {"first": first, "second": second}, (1, 8))
    half = to_fp16(model, peaks(model)).model
    x = random.normal(size=(1, 8)).astype(np.float32)

    def narrow(values: NDArray[Any]) -> NDArray[Any]:
        return values.astype(np.float16).astype(np.float32)

    a = narrow(narrow(x) @ narrow(first))
    b = narrow(1 / (1 + np.exp(-a)))
    expected = narrow(b @ narrow(second))
    # a sum in another order may round to the next FP16 number
    np.testing.assert_allclose(half_run(half, x[0]), expected, rtol=2.0**-10)
    assert not np.array_equal(expected, x @ first)  # there is something to compare
