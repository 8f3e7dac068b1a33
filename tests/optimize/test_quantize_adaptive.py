"""Adaptive rounding in the graph: weights on the grid the quantizer finds, outputs nearer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from segship.calibration.weights import weight_scales
from segship.cli import segship
from segship.common.errors import InputError
from segship.optimize.quantize import makers
from segship.optimize.quantize.adaptive import Rounding, round_weights
from segship.optimize.quantize.edges import quantized_tensors
from segship.optimize.quantize.fp16_int8 import fp16_around
from segship.optimize.quantize.half_scales import is_half
from segship.optimize.quantize.plan import QuantForm, make_plan
from segship.optimize.quantize.qdq import insert_qdq
from segship.optimize.quantize.quantize import quantize
from segship.optimize.quantize.view import GraphView
from segship.tests.optimize.quantize_graphs import constant, graph_of, ranges_of, rounded, run

RANDOM = np.random.default_rng(6)
MIXING = RANDOM.normal(size=(3, 8)).astype(np.float32)
# correlated channels with a mean, as behind a GELU
TOKENS = [
    np.maximum(RANDOM.normal(size=(1, 40, 3)) @ MIXING, 0).astype(np.float32) for _ in range(4)
]
MAPS = [item.transpose(0, 2, 1).reshape(1, 8, 8, 5) for item in TOKENS]
WEIGHT = RANDOM.normal(size=(6, 8)).astype(np.float32)  # (out,in)
Case = tuple[list[onnx.NodeProto], dict[str, NDArray[Any]], list[NDArray[Any]]]
CASES: dict[str, Case] = {
    "MatMul": ([helper.make_node("MatMul", ["x", "w"], ["out"])], {"w": WEIGHT.T.copy()}, TOKENS),
    "Conv": (
        [helper.make_node("Conv", ["x", "w"], ["out"], strides=[1, 1], pads=[0, 0, 0, 0])],
        {"w": WEIGHT[:, :, None, None]},
        MAPS,
    ),
    "Gemm": (
        [
            helper.make_node("Reshape", ["x", "shape"], ["rows"]),
            helper.make_node("Gemm", ["rows", "w"], ["out"], transB=1),
        ],
        {"w": WEIGHT, "shape": np.array([-1, 8])},
        TOKENS,
    ),
}


def rounding(case: Case, form: QuantForm | None = None, **options: Any) -> tuple[Any, ...]:
    nodes, constants, images = case
    model = graph_of(nodes, constants, images[0].shape)
    plan = make_plan(model, form)
    ranges = ranges_of(quantized_tensors(model, plan), -8.0, 8.0)
    return model, ranges, plan, round_weights(model, ranges, plan, lambda: images, **options)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("stored", ["int8", "float32"])
def test_output_comes_nearer_and_the_grid_stays(name: str, stored: str) -> None:
    model, ranges, plan, found = rounding(CASES[name], QuantForm(stored=stored))
    images = CASES[name][2]
    assert len(found.sqnr_db) == 1 and "1 of 1 weights" in found.notes[0]
    files = [insert_qdq(start, ranges, plan) for start in (model, found.model)]
    noise = [0.0, 0.0]
    for image in images:
        exact = run(model, x=rounded(image, np.float32(8 / 127)))[0]  # of what the product reads
        for index, file in enumerate(files):
            noise[index] += float(np.square(run(file, x=image)[0] - exact).sum())
    assert noise[1] < 0.6 * noise[0]
    axis = 1 if name == "MatMul" else 0
    scales = [constant(item, f"w_axis{axis}_scale") for item in files]
    assert np.allclose(scales[0], scales[1], rtol=1e-6, atol=0)
    shape = [1] * constant(found.model, "w").ndim
    shape[axis] = -1
    levels = constant(found.model, "w") / scales[0].reshape(shape)
    assert np.abs(levels - np.rint(levels)).max() < 1e-3  # float32 division
    plain = constant(model, "w") / scales[0].reshape(shape)
    assert np.abs(levels - plain).max() < 1.001
    assert not np.array_equal(np.rint(levels), np.rint(plain))
    if stored == "int8":
        assert np.array_equal(constant(files[1], f"w_axis{axis}_quantized"), np.rint(levels))


@pytest.mark.parametrize("factor", [1.0, *(2.0**-9 * step for step in (1, 0.93, 0.61, 0.5))])
def test_weights_lie_on_the_grid_of_fp16_scales(factor: float) -> None:
    """With the first factor; the others give scales that are subnormal in FP16."""
    form = QuantForm(half_scales=True)
    case = CASES["MatMul"][0], {"w": np.float32(factor) * WEIGHT.T}, TOKENS
    model, ranges, plan, found = rounding(case, form)
    files = [insert_qdq(start, ranges, plan) for start in (model, found.model)]
    scales = [constant(item, "w_axis1_scale") for item in files]
    assert is_half(scales[1]) and np.all(scales[1] <= scales[0])
    np.testing.assert_allclose(scales[1], scales[0], rtol=1 / 64)  # one step of 2^-24 apart
    assert not np.array_equal(scales[1], weight_scales(constant(model, "w"), 1))
    levels = constant(found.model, "w") / scales[1]
    assert np.abs(levels - np.rint(levels)).max() < 1e-3  # float32 division
    assert np.array_equal(constant(files[1], "w_axis1_quantized"), np.rint(levels))
    ((_, said),) = found.sqnr_db.items()
    view = GraphView(model)
    written = constant(files[1], "w_axis1_quantized") * scales[1].astype(np.float64)
    exact = view.array("w")
    assert exact is not None
    noise = np.square(written - exact).sum()
    assert said == pytest.approx(10 * np.log10(np.square(exact).sum() / noise), abs=1e-3)


def two_readers(shared: bool) -> Case:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["x", "w" if shared else "v"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["out"]),
    ]
    return nodes, {"w": WEIGHT.T.copy(), "v": 2 * WEIGHT.T}, TOKENS


def test_groups_give_the_same_as_all_at_once() -> None:
    whole, parts = (rounding(two_readers(False), values=size)[-1] for size in (1 << 20, 1))
    assert len(whole.sqnr_db) == 2
    assert parts.model == whole.model and parts.sqnr_db == whole.sqnr_db


@pytest.mark.parametrize(
    "case",
    [
        two_readers(True),
        (
            [helper.make_node("Conv", ["x", "w"], ["out"])],
            {"w": RANDOM.normal(size=(6, 8, 3, 3)).astype(np.float32)},
            MAPS,
        ),
        (
            [helper.make_node("Conv", ["x", "w"], ["out"], strides=[2, 2])],
            {"w": WEIGHT[:, :, None, None]},
            MAPS,
        ),
        (
            [helper.make_node("Conv", ["x", "w"], ["out"], pads=[1, 1, 1, 1])],
            {"w": WEIGHT[:, :, None, None]},
            MAPS,
        ),
        (
            [helper.make_node("Conv", ["x", "w"], ["out"], group=2)],
            {"w": WEIGHT[:, :4, None, None].copy()},
            MAPS,
        ),
    ],
)
def test_other_weights_are_left_to_nearest_rounding(case: Case) -> None:
    model, _, _, found = rounding(case)
    assert isinstance(found, Rounding)
    assert found.model == model and not found.sqnr_db
    assert "adaptive rounding: 0 of" in found.notes[0]


def test_one_scale_per_weight_is_refused() -> None:
    with pytest.raises(InputError, match="per channel"):
        rounding(CASES["MatMul"], QuantForm(per_channel=False))


def test_command_line_rounds_and_corrects(tiny_onnx: Path, tmp_path: Path) -> None:
    path = tmp_path / "q.onnx"
    arguments = ["quantize", str(tiny_onnx), "-o", str(path), "--data", "scenes:16", "--precision"]
    options = ["--method", "minmax", "--profile", "tensorrt8", "--rounding", "adaptive"]
    shown = CliRunner().invoke(segship, [*arguments, "int8", *options, "--bias-correction"])
    assert shown.exit_code == 0, shown.output
    assert "adaptive rounding:" in shown.output and "bias correction:" in shown.output
    refused = CliRunner().invoke(segship, [*arguments, "fp16", "--rounding", "adaptive"])
    assert refused.exit_code == 2 and "--rounding adaptive" in refused.output


def test_fp16_is_put_around_the_graph_that_was_improved(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, ...]] = []

    def spy(*arguments: Any) -> Any:
        seen.append(arguments)
        return fp16_around(*arguments)

    monkeypatch.setattr(makers, "fp16_around", spy)
    options: dict[str, Any] = {"data": "scenes:16", "method": "minmax", "profile": "tensorrt10"}
    better: dict[str, Any] = {"rounding": "adaptive", "bias_correction": True}
    files = {}
    for kind, more in {
        "plain": {},
        "fp16": better,
        "fp32": {**better, "float_type": "fp32"},
    }.items():
        path = tmp_path / f"{kind}.onnx"
        found = quantize(tiny_checkpoint, path, precision="int8", **options, **more)
        assert found.verdict is not None and found.verdict.finite
        files[kind] = onnx.load(path)
    for quantized, model, ranges, plan in seen:
        assert insert_qdq(model, ranges, plan) == quantized
    # the int8 weights are the improved ones, on the same scales, and biases differ by a rounding
    wide = {item.name: numpy_helper.to_array(item) for item in files["fp32"].graph.initializer}
    half = {item.name: numpy_helper.to_array(item) for item in files["fp16"].graph.initializer}
    weights = [name for name, values in half.items() if values.dtype == np.int8 and values.ndim > 1]
    changed = [
        name for name in weights if not np.array_equal(half[name], constant(files["plain"], name))
    ]
    assert len(changed) > 10
    for name in weights:
        assert np.abs(half[name].astype(int) - wide[name]).max() <= 1


def test_a_table_has_the_error_of_the_rounding_made(tiny_onnx: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"data": "scenes:16", "method": "minmax", "profile": "tensorrt8"}
    rows = []
    for kind in ("nearest", "adaptive"):
        path = tmp_path / f"{kind}.onnx"
        found = quantize(tiny_onnx, path, precision="int8", rounding=kind, **options)
        rows.append({row.node: row.weight_sqnr_db for row in found.rows if row.weight_sqnr_db})
    names = [item.name for item in found.artifact.lineage.passes]
    assert names.index("adaptive-rounding") < names.index("int8")
    nearest, adaptive = rows
    assert nearest.keys() == adaptive.keys()
    # nearest rounding is the best for the weight itself, not for the output
    assert sum(adaptive[name] < nearest[name] for name in nearest) > 10
    assert all(adaptive[name] <= nearest[name] for name in nearest)
