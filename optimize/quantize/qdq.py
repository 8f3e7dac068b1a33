"""Write a plan into a graph: QuantizeLinear and DequantizeLinear around what becomes INT8.

docs/decisions/0007-int8-form.md says why ONNX Runtime's quantizer does not do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...calibration.ranges import Ranges, TensorRange
from ...common.errors import InputError
from .edges import Edge, quantized_tensors
from .half_scales import half_scale
from .plan import INT8, QuantForm, QuantPlan, refuse_quantized
from .qdq_weights import write_bias, write_weight
from .view import GraphView
from .writing import SMALLEST_SCALE, Writing

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Scale:
    """How an activation becomes 8 bits: x ≈ (q - zero) · step, both of shape ()."""

    step: NDArray[np.float32]
    zero: NDArray[np.int8] | NDArray[np.uint8]


def insert_qdq(model: onnx.ModelProto, ranges: Ranges, plan: QuantPlan) -> onnx.ModelProto:
    """Return a copy of `model` quantized as `plan` says, activations on `ranges`.

    Args:
        model: the float graph the plan was made for.
        ranges: must hold every tensor of `edges.quantized_tensors(model, plan)`; with a
            symmetric form only their greatest magnitude counts.
        plan: of `make_plan`.

    Raises:
        InputError: the graph is quantized already, or a range is missing or not finite.
    """
    import onnx

    refuse_quantized(model)
    view, writing = GraphView(model), Writing()
    steps: dict[Edge, NDArray[np.float32]] = {}
    for name, edges in quantized_tensors(model, plan).items():
        scale = activation_scale(name, ranges, plan)
        _write_activation(writing, view, name, scale, edges)
        steps.update(dict.fromkeys(edges, scale.step))
    for choice in plan.choices:
        if choice.precision == INT8 and choice.weight:
            node = view.named[choice.node]
            step = write_weight(writing, view, plan.form, node, choice.weight)
            if plan.form.outputs and node.op_type == "Conv" and not plan.form.half_scales:
                write_bias(writing, view, node, step, _input_step(view, node, steps))
    result = onnx.ModelProto()
    result.CopyFrom(model)
    writing.apply(result.graph)
    return result


def _input_step(
    view: GraphView, node: onnx.NodeProto, steps: dict[Edge, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the step of what a convolution reads, above the layout operators it was moved over."""
    while (node.name, 0) not in steps:
        node = view.producer[node.input[0]]
    return steps[(node.name, 0)]


def activation_scale(name: str, ranges: Ranges, plan: QuantPlan) -> Scale:
    """Return the scale of activation `name`.

    Raises:
        InputError: it was not calibrated, or its range is not finite.
    """
    found = ranges.tensors.get(name)
    if found is None or not np.isfinite([found.low, found.high]).all():
        raise InputError(
            f"Expected a finite calibrated range of {name!r}, but got {found}: calibrate the graph "
            "that is quantized."
        )
    scale = _scale(found, plan.form)
    return Scale(half_scale(scale.step), scale.zero) if plan.form.half_scales else scale


def _scale(found: TensorRange, form: QuantForm) -> Scale:
    if form.symmetric:
        return _symmetric(found, form.unsigned and found.minimum >= 0)
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    step = max(np.float32((high - low) / 255), SMALLEST_SCALE)
    zero = np.clip(round(-low / float(step)), 0, 255)
    return Scale(np.array(step, np.float32), np.array(zero, np.uint8))


def _symmetric(found: TensorRange, unsigned: bool) -> Scale:
    peak, levels = max(abs(found.low), abs(found.high)), 255 if unsigned else 127
    step = max(np.float32(peak / levels), SMALLEST_SCALE)
    return Scale(np.array(step, np.float32), np.array(0, np.uint8 if unsigned else np.int8))


def _write_activation(
    writing: Writing, view: GraphView, name: str, scale: Scale, edges: tuple[Edge, ...]
) -> None:
    from onnx import helper

    step = writing.keep(f"{name}_scale", scale.step)
    zero = writing.keep(f"{name}_zero_point", scale.zero)
    pair = [
        helper.make_node(
            operator, [source, step, zero], [f"{name}_{word}"], name=f"{name}_{operator}"
        )
        for operator, source, word in (
            ("QuantizeLinear", name, "quantized"),
            ("DequantizeLinear", f"{name}_quantized", "dequantized"),
        )
    ]
    maker = view.producer.get(name)
    writing.after.setdefault(maker.name if maker is not None else "", []).extend(pair)
    writing.renamed.update({edge: f"{name}_dequantized" for edge in edges})
