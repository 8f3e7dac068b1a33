"""Adaptive rounding of the weights a Q/DQ graph has: each up or down, by its layer's output.

The inputs that decide are those the quantized network really gives the layer, in 8 bits and with
every weight rounded to nearest; all layers are rounded at once. scaling/adaround.py has the method.
Layers are taken a group at a time, so that the sums over x xᵀ, in² numbers each, stay bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.ranges import Ranges
from ...common.errors import InputError, MissingDependencyError
from .constants import Constants
from .graph_sums import constant_node, summed, with_outputs
from .half_scales import half_scale
from .plan import INT8, QuantForm, QuantPlan
from .qdq import insert_qdq
from .qdq_weights import output_axis, weight_step
from .view import GraphView, attribute

if TYPE_CHECKING:
    import onnx

LEVELS = 127  # of int8, symmetric
_SETTLED = 3  # passes after which steps stay
GRAM_VALUES = 1 << 25  # numbers of all matrices kept at a time: 256 MiB in float64


@dataclass(frozen=True)
class Rounding:
    """The float graph with weights on the int8 grid, and their signal-to-noise in dB by node."""

    model: onnx.ModelProto
    sqnr_db: dict[str, float]
    notes: tuple[str, ...]


def round_weights(
    model: onnx.ModelProto,
    ranges: Ranges,
    plan: QuantPlan,
    images: Callable[[], Iterable[NDArray[Any]]],
    *,
    values: int = GRAM_VALUES,
) -> Rounding:
    """Return `model` with the weights of its pointwise INT8 products rounded for their inputs.

    `insert_qdq` then finds the same grid and changes them no more. Other weights (wider kernels,
    those two nodes share) are left, and rounded to nearest by it.

    Args:
        model: the float graph that `insert_qdq(model, ranges, plan)` quantizes.
        ranges: of its activations.
        plan: which of its nodes become INT8; its form must have weights per channel.
        images: gives the pixels (B,3,H,W) anew for each group of layers.
        values: how many numbers of x xᵀ a group may have.

    Raises:
        InputError: one scale per weight, or no image.
        MissingDependencyError: torch, which solves for the roundings, is not installed.
    """
    import onnx

    if not plan.form.per_channel:
        raise InputError(
            "Expected weights quantized per channel to round adaptively, but the form has one "
            "scale per weight: use --rounding nearest."
        )
    products = [item.node for item in plan.choices if item.precision == INT8 and item.weight]
    result = onnx.ModelProto()
    result.CopyFrom(model)
    constants = Constants(result)
    chosen = [name for name in products if _pointwise(constants.view.named[name], constants)]
    quantized = insert_qdq(model, ranges, plan)
    sqnr_db, gains = {}, []
    for group in _groups(chosen, constants.view, values):
        widths = {name: _inputs(constants.view, name) for name in group}
        for name, gram in _grams(quantized, widths, images()):
            node = constants.view.named[name]
            sqnr_db[name], gain = _round(constants, node, gram, plan.form)
            gains.append(gain)
    middle = f", noise of the output {np.median(gains):.1f} dB lower (median)" if gains else ""
    note = f"adaptive rounding: {len(chosen)} of {len(products)} weights{middle}"
    return Rounding(result, sqnr_db, (note,))


def _pointwise(node: onnx.NodeProto, constants: Constants) -> bool:
    """Say whether a node is a matrix product or 1×1 convolution with a weight of its own."""
    tensor = constants.view.tensor(node.input[1])
    if tensor is None or not constants.alone(node.input[1]):
        return False
    if node.op_type == "MatMul":
        return len(tensor.dims) == 2
    if node.op_type == "Gemm":
        return attribute(node, "transA", 0) == 0
    moved = any(
        (item.name == "strides" and set(item.ints) != {1})
        or (item.name == "pads" and any(item.ints))
        for item in node.attribute
    )
    plain = node.op_type == "Conv" and attribute(node, "group", 1) == 1 and not moved
    return plain and list(tensor.dims[2:]) == [1, 1]


def _groups(names: Sequence[str], view: GraphView, most: int) -> Iterator[list[str]]:
    group: list[str] = []
    held = 0
    for name in names:
        size = _inputs(view, name) ** 2
        if group and held + size > most:
            yield group
            group, held = [], 0
        group.append(name)
        held += size
    if group:
        yield group


def _inputs(view: GraphView, name: str) -> int:
    """Return how many numbers one output of a pointwise product is made of."""
    node = view.named[name]
    tensor = view.tensor(node.input[1])
    return 0 if tensor is None else int(tensor.dims[1 - output_axis(node)])


def _grams(
    quantized: onnx.ModelProto, widths: Mapping[str, int], images: Iterable[NDArray[Any]]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield node name and Σ x xᵀ (in,in) of what the quantized node reads."""
    view = GraphView(quantized)
    probes = [_gram_nodes(view.named[name], width) for name, width in widths.items()]
    sums = summed(with_outputs(quantized, probes), images)
    for name, (_, (output,)) in zip(widths, probes, strict=True):
        yield name, sums.pop(output)


def _gram_nodes(node: onnx.NodeProto, width: int) -> tuple[list[onnx.NodeProto], tuple[str]]:
    from onnx import helper

    stem = f"segship/{node.name}"
    shape, laid, wide, tall, gram = (
        f"{stem}/{word}" for word in ("shape", "laid", "a", "b", "gram")
    )
    if node.op_type == "Conv":  # (B,in,H,W) → (in, positions)
        nodes = [
            constant_node(shape, np.array([width, -1])),
            helper.make_node("Transpose", [node.input[0]], [laid], perm=[1, 0, 2, 3]),
            helper.make_node("Reshape", [laid, shape], [wide]),
            helper.make_node("Transpose", [wide], [tall], perm=[1, 0]),
        ]
    else:  # (…,in) → (positions, in)
        nodes = [
            constant_node(shape, np.array([-1, width])),
            helper.make_node("Reshape", [node.input[0], shape], [tall]),
            helper.make_node("Transpose", [tall], [wide], perm=[1, 0]),
        ]
    return [*nodes, helper.make_node("MatMul", [wide, tall], [gram])], (gram,)


def _round(
    constants: Constants, node: onnx.NodeProto, gram: NDArray[np.float64], form: QuantForm
) -> tuple[float, float]:
    """Write the rounded weight of `node`; return its SQNR and what its output gains, in dB."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "Expected torch for --rounding adaptive, but it is not installed: pip install torch."
        ) from error
    from ..scaling.adaround import adaptive_round

    weight = constants.view.array(node.input[1])
    if weight is None:  # pragma: no cover - `_pointwise` has seen it
        return np.inf, 0.0
    axis = output_axis(node)
    exact = np.moveaxis(weight.astype(np.float64), axis, 0).reshape(weight.shape[axis], -1)
    step = _grid(exact, weight_step(constants.view, form, node, node.input[1]), form)
    tensors = (torch.from_numpy(item) for item in (exact, gram, step))
    ours = adaptive_round(*tensors).numpy()
    nearest = np.clip(np.rint(exact / step[:, None]), -LEVELS, LEVELS) * step[:, None]
    back = np.moveaxis(ours.reshape(np.moveaxis(weight, axis, 0).shape), 0, axis)
    constants.write(node, 1, back.astype(np.float32))
    costs = [float((((item - exact) @ gram) * (item - exact)).sum()) for item in (nearest, ours)]
    return _decibel(np.square(exact).sum(), np.square(ours - exact).sum()), _decibel(*costs)


def _grid(
    exact: NDArray[np.float64], written: NDArray[np.float32], form: QuantForm
) -> NDArray[np.float64]:
    """Return the steps (out,) that a quantizer finds again in the weights (out,in) rounded to them.

    `written` is what it finds in the exact ones. Rounded up to FP16, a step may leave level 127
    empty, and the largest weight that is left then asks for a smaller one.
    """
    peaks = np.abs(exact).max(axis=1)
    for _ in range(_SETTLED):
        left = np.minimum(np.rint(peaks / written), LEVELS) * written / LEVELS
        found = np.where(left > 0, left, 1).astype(np.float32)
        written = half_scale(found) if form.half_scales else found
    return written.astype(np.float64)


def _decibel(signal: float, noise: float) -> float:
    """Return the ratio of two powers in dB; infinite without noise, 0 where both are nothing."""
    if noise <= 0:
        return float("inf") if signal > 0 else 0.0
    return float(10 * np.log10(max(signal, 1e-300) / noise))
