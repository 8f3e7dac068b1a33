"""Bias correction of a Q/DQ graph: every product gets its mean back, and only that changes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from segship.common.errors import InputError
from segship.data.contract import InputKind, OutputKind
from segship.optimize.quantize.correction import correct_biases
from segship.optimize.quantize.edges import quantized_tensors
from segship.optimize.quantize.improve import improve
from segship.optimize.quantize.plan import QuantForm, make_plan
from segship.optimize.quantize.qdq import insert_qdq
from segship.optimize.quantize.quantize import quantize
from segship.runtimes.open import load_artifact
from segship.tests.optimize.quantize_graphs import constant, graph_of, ranges_of, run

RANDOM = np.random.default_rng(4)
BIAS = np.array([0.5, -1.0, 2.0], np.float32)
# ranges are ±2: of values around 1.6 what lies above is clipped, which moves the mean
MAPS = [RANDOM.normal(1.6, 1, (1, 4, 5, 6)).astype(np.float32) for _ in range(3)]
TOKENS = [item.reshape(1, 4, 30).transpose(0, 2, 1) for item in MAPS]
FULL = QuantForm(attention=True)


def weight(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(8).normal(size=shape).astype(np.float32)


def node(operator: str, *inputs: str, to: str = "out", **values: Any) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), [to], **values)


CASES: dict[str, tuple[list[onnx.NodeProto], dict[str, NDArray[Any]], bool]] = {
    "convolution": ([node("Conv", "x", "w", "b")], {"w": weight(3, 4, 3, 3), "b": BIAS}, True),
    "convolution without bias": ([node("Conv", "x", "w")], {"w": weight(3, 4, 1, 1)}, True),
    "upward": ([node("ConvTranspose", "x", "w", "b")], {"w": weight(4, 3, 2, 2), "b": BIAS}, True),
    "linear": (
        [node("MatMul", "x", "w", to="m"), node("Add", "m", "b")],
        {"w": weight(4, 3), "b": BIAS},
        False,
    ),
    "linear, bias first": (
        [node("MatMul", "x", "w", to="m"), node("Add", "b", "m")],
        {"w": weight(4, 3), "b": BIAS},
        False,
    ),
    "linear of a map": (
        [
            node("Reshape", "x", "shape", to="flat"),
            node("Transpose", "flat", to="t", perm=[0, 2, 1]),
            node("MatMul", "t", "w", to="m"),
            node("Add", "m", "b"),
        ],
        {"w": weight(4, 3), "b": BIAS, "shape": np.array([1, 4, -1])},
        True,
    ),
    "gemm": (
        [node("Reshape", "x", "shape", to="f"), node("Gemm", "f", "w", "b", transB=1)],
        {"w": weight(3, 4), "b": BIAS, "shape": np.array([-1, 4])},
        False,
    ),
}


def outputs(model: onnx.ModelProto, images: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([run(model, x=item)[0] for item in images])


def means(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """Means of all axes but one."""
    return np.asarray(np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).mean(axis=1))


@pytest.mark.parametrize(
    "form", [QuantForm(), QuantForm(stored="float32"), QuantForm(outputs=True)]
)
@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_product_gets_its_mean_back(name: str, form: QuantForm) -> None:
    nodes, constants, maps = CASES[name]
    images = MAPS if maps else TOKENS
    model = graph_of(nodes, constants, images[0].shape)
    before = model.SerializeToString()
    plan = make_plan(model, form)
    ranges = ranges_of(quantized_tensors(model, plan), -2.0, 2.0)
    found = correct_biases(model, ranges, plan, images)
    assert found.layers == 1 and "1 of 1 products" in found.notes[0]
    assert model.SerializeToString() == before
    axis = 1 if "Conv" in nodes[0].op_type else -1
    exact = means(outputs(model, images), axis)
    shifts = []
    for start in (model, found.model):
        quantized = insert_qdq(start, ranges, plan)
        onnx.checker.check_model(quantized, full_check=True)
        shifts.append(np.abs(means(outputs(quantized, images), axis) - exact).max())
    plain, corrected = shifts
    assert plain > 0.05 and corrected < 1e-4 * plain + 1e-5  # an int32 bias is rounded to 1e-4


def two_layers(shared: bool = False) -> onnx.ModelProto:
    """Two linear layers in a row, with biases of their own or one constant."""
    return graph_of(
        [
            node("MatMul", "x", "w0", to="m0"),
            node("Add", "m0", "b0", to="h"),
            node("MatMul", "h", "w1", to="m1"),
            node("Add", "m1", "b0" if shared else "b1"),
        ],
        {"w0": weight(4, 3), "w1": weight(3, 3), "b0": BIAS, "b1": BIAS},
        TOKENS[0].shape,
    )


def test_a_layer_answers_for_its_own_shift_only() -> None:
    model = two_layers()
    plan = make_plan(model)
    ranges = ranges_of(quantized_tensors(model, plan), -2.0, 2.0)
    both = correct_biases(model, ranges, plan, TOKENS).model
    hidden = graph_of(
        list(model.graph.node)[:2], {"w0": weight(4, 3), "b0": BIAS}, [1, 30, 4], ["h"]
    )
    x = np.concatenate(TOKENS)
    # the second layer's error, on what the first gives in INT8 without a correction
    h = run(insert_qdq(hidden, ranges, make_plan(hidden)), x=x[:1])[0]
    h = np.concatenate(
        [h, *(run(insert_qdq(hidden, ranges, make_plan(hidden)), x=item)[0] for item in TOKENS[1:])]
    )
    step = np.float32(2 / 127)
    w = weight(3, 3)
    scale = np.abs(w).max(axis=0) / np.float32(127)
    error = np.clip(np.rint(h / step), -128, 127) * step @ (np.rint(w / scale) * scale) - h @ w
    assert np.allclose(constant(both, "b1"), BIAS - error.mean(axis=(0, 1)), atol=1e-5)
    assert np.abs(error.mean(axis=(0, 1))).max() > 0.05


def test_means_are_those_of_the_weights_before_they_were_rounded() -> None:
    model, coarse = two_layers(), two_layers()
    for item in coarse.graph.initializer:
        if item.name == "w1":
            values = np.round(weight(3, 3))
            item.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), "w1"))
    plan = make_plan(model)
    ranges = ranges_of(quantized_tensors(model, plan), -9.0, 9.0)
    found = correct_biases(coarse, ranges, plan, TOKENS, reference=model)
    exact = means(outputs(model, TOKENS), -1)
    before, after = (
        np.abs(means(outputs(insert_qdq(item, ranges, plan), TOKENS), -1) - exact).max()
        for item in (coarse, found.model)
    )
    assert before > 0.3 and after < 0.05 * before  # what is left came from the first layer


def test_rounded_weights_are_corrected_against_the_float_ones() -> None:
    nodes, constants, _ = CASES["linear"]
    model = graph_of(nodes, constants, TOKENS[0].shape)
    plan = make_plan(model)
    ranges = ranges_of(quantized_tensors(model, plan), -8.0, 8.0)
    floats: Any = SimpleNamespace(model=model, pixels=lambda: iter(TOKENS))
    exact, shifts = means(outputs(model, TOKENS), -1), []
    for correction in (False, True):
        request: Any = SimpleNamespace(rounding="adaptive", bias_correction=correction)
        found = improve(floats, request, ranges, plan)
        assert [item.name for item in found.passes][:1] == ["adaptive-rounding"]
        got = means(outputs(insert_qdq(found.model, ranges, plan), TOKENS), -1)
        shifts.append(np.abs(got - exact).max())
    assert shifts[0] > 1e-3 and shifts[1] < 1e-5


def test_a_bias_two_layers_share_is_told_apart() -> None:
    model = two_layers(shared=True)
    plan = make_plan(model)
    ranges = ranges_of(quantized_tensors(model, plan), -2.0, 2.0)
    shared, own = (
        correct_biases(model, ranges, plan, TOKENS),
        correct_biases(two_layers(), ranges, plan, TOKENS),
    )
    assert shared.layers == 2
    got, wanted = (outputs(insert_qdq(item.model, ranges, plan), TOKENS) for item in (shared, own))
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("MatMul", "x", "w")], {"w": weight(4, 3)}),
        ([node("MatMul", "x", "w", to="m"), node("Relu", "m")], {"w": weight(4, 3)}),
        (  # what is added is added for one of two readers
            [
                node("MatMul", "x", "w", to="m"),
                node("Add", "m", "b", to="s"),
                node("Relu", "m", to="r"),
                node("Add", "s", "r"),
            ],
            {"w": weight(4, 3), "b": BIAS},
        ),
        (
            [node("MatMul", "x", "w", to="m"), node("Add", "m", "b")],
            {"w": weight(4, 3), "b": np.ones((30, 3), np.float32)},  # no bias: one per position
        ),
        (
            [node("Transpose", "x", to="t", perm=[0, 2, 1]), node("MatMul", "x", "t")],
            {},
        ),
    ],
)
def test_a_product_without_a_bias_is_left_alone(
    nodes: list[onnx.NodeProto], constants: dict[str, NDArray[Any]]
) -> None:
    model = graph_of(nodes, constants, TOKENS[0].shape)
    plan = make_plan(model, FULL)
    found = correct_biases(model, ranges_of(quantized_tensors(model, plan)), plan, TOKENS)
    assert found.layers == 0 and found.model == model
    assert "no product has a bias" in found.notes[0]


def test_wrong_images_and_outputs_are_refused() -> None:
    model = two_layers()
    plan = make_plan(model)
    ranges = ranges_of(quantized_tensors(model, plan))
    with pytest.raises(InputError, match="got none"):
        correct_biases(model, ranges, plan, [])
    with pytest.raises(InputError, match="images the graph takes"):
        correct_biases(model, ranges, plan, MAPS)
    broken = np.full_like(TOKENS[0], np.inf)
    with pytest.raises(InputError, match="finite outputs of"):
        correct_biases(model, ranges, plan, [broken])


QUICK: dict[str, Any] = {"data": "scenes:16", "method": "minmax", "scaling": False}


@pytest.mark.parametrize("profile", ["tensorrt8", "cpu-onnxruntime"])
def test_quantize_corrects_biases_and_says_so(
    tiny_onnx: Path, tmp_path: Path, profile: str
) -> None:
    options = {**QUICK, "precision": "int8", "profile": profile}
    plain = quantize(tiny_onnx, tmp_path / "a.onnx", **options, bias_correction=False)
    better = quantize(tiny_onnx, tmp_path / "b.onnx", **options, bias_correction=True)
    assert not any("bias correction" in note for note in plain.notes)
    assert any("bias correction" in note for note in better.notes)
    before = load_artifact(tiny_onnx).lineage.passes
    names = [item.name for item in load_artifact(better.artifact.path).lineage.passes]
    assert names == [*(item.name for item in before), "bias-correction", "int8"]
    assert plain.ranges == better.ranges
    first, second = (onnx.load(str(item.artifact.path)) for item in (plain, better))
    # a convolution without a bias gets one; nothing else is new, and nothing computes anew
    arithmetic = [
        [node.name for node in item.graph.node if "Linear" not in node.op_type]
        for item in (first, second)
    ]
    assert arithmetic[0] == arithmetic[1]
    known = {item.name: item.raw_data for item in first.graph.initializer}
    changed = [i.name for i in second.graph.initializer if known.get(i.name) != i.raw_data]
    assert len(changed) > 20 and all("bias" in name or name.endswith("/input2") for name in changed)


@pytest.mark.parametrize(
    "changes",
    [
        {"dynamic": True, "input_kind": InputKind.UINT8, "output_kind": OutputKind.LABELS},
        {"precision": "int8-all"},
        {"float_type": "fp16", "opset": 20},
    ],
)
def test_every_form_of_the_graph_is_rounded_and_corrected(
    tiny_checkpoint: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    options = {**QUICK, "precision": "int8", "profile": "tensorrt10", **changes}
    found = quantize(
        tiny_checkpoint, tmp_path / "q.onnx", **options, rounding="adaptive", bias_correction=True
    )
    assert [item.name for item in found.artifact.lineage.passes][-3:-1] == [
        "adaptive-rounding",
        "bias-correction",
    ]
    verdict = found.verdict
    assert verdict is not None and verdict.agreement is not None
    assert verdict.agreement > 0.9 and not verdict.not_finite


@pytest.mark.parametrize("precision", ["fp16", "mixed"])
@pytest.mark.parametrize("changes", [{"bias_correction": True}, {"rounding": "adaptive"}])
def test_other_precisions_refuse_corrections(
    tiny_onnx: Path, tmp_path: Path, precision: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="with int8 or int8-all") as error:
        quantize(tiny_onnx, tmp_path / "q.onnx", **QUICK, precision=precision, **changes)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())
