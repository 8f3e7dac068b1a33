"""Weights and biases of quantized nodes: int8 per output channel, symmetric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.weights import weight_scales
from ...common.errors import InputError
from .half_scales import half_scale
from .plan import QuantForm
from .view import GraphView, attribute
from .writing import SMALLEST_SCALE, Writing

if TYPE_CHECKING:
    import onnx

_LARGEST_BIAS = 2**31 - 1


def write_weight(
    writing: Writing, view: GraphView, form: QuantForm, node: onnx.NodeProto, weight: str
) -> NDArray[np.float32]:
    """Quantize the constant `weight` of `node` and return its steps: () or (output channels,)."""
    from onnx import helper

    values, axis = _finite(view, node, weight), output_axis(node)
    step = weight_step(view, form, node, weight)
    stem = f"{weight}_axis{axis}" if form.per_channel else weight
    extra: dict[str, Any] = {"axis": axis} if form.per_channel else {}
    known = f"{stem}_scale" in writing.constants
    scale = writing.keep(f"{stem}_scale", step)
    zero = writing.keep(f"{stem}_zero_point", np.zeros(step.shape, np.int8))
    made, quantized = [], f"{stem}_quantized"
    if form.stored == "float32":
        inputs, name = [weight, scale, zero], f"{stem}_QuantizeLinear"
        made.append(helper.make_node("QuantizeLinear", inputs, [quantized], name=name, **extra))
    elif not known:
        writing.keep(quantized, rounded(values, step, axis))
    output = f"{stem}_dequantized"
    inputs, name = [quantized, scale, zero], f"{stem}_DequantizeLinear"
    made.append(helper.make_node("DequantizeLinear", inputs, [output], name=name, **extra))
    if not known:
        writing.before.setdefault(node.name, []).extend(made)
    writing.renamed[(node.name, list(node.input).index(weight))] = output
    return step


def weight_step(
    view: GraphView, form: QuantForm, node: onnx.NodeProto, weight: str
) -> NDArray[np.float32]:
    """Return the steps of the constant `weight` of `node`: () or (output channels,).

    Raises:
        InputError: a weight that is not finite.
    """
    values, axis = _finite(view, node, weight), output_axis(node)
    step = weight_scales(values, axis) if form.per_channel else _one_scale(values)
    return half_scale(step) if form.half_scales else step


def write_bias(
    writing: Writing,
    view: GraphView,
    node: onnx.NodeProto,
    weight_step: NDArray[np.float32],
    input_step: NDArray[np.float32],
) -> None:
    """Store the bias of a convolution as int32 in the unit of its products, if it has one."""
    from onnx import helper

    bias = view.array(node.input[2]) if len(node.input) > 2 else None
    if bias is None:
        return
    step = np.maximum(weight_step * input_step, SMALLEST_SCALE).astype(np.float32)
    whole = np.clip(np.rint(bias / step.astype(np.float64)), -_LARGEST_BIAS, _LARGEST_BIAS)
    stem = f"{node.name}_bias"
    names = [
        writing.keep(f"{stem}_quantized", whole.astype(np.int32)),
        writing.keep(f"{stem}_scale", step),
    ]
    output, name = f"{stem}_dequantized", f"{stem}_DequantizeLinear"
    extra: dict[str, Any] = {"axis": 0} if step.ndim else {}
    made = helper.make_node("DequantizeLinear", names, [output], name=name, **extra)
    writing.before.setdefault(node.name, []).append(made)
    writing.renamed[(node.name, 2)] = output


def weight_error_db(view: GraphView, form: QuantForm, node: onnx.NodeProto, weight: str) -> float:
    """Return the signal-to-noise ratio of the constant `weight` in int8; infinite without error."""
    values, axis = _finite(view, node, weight), output_axis(node)
    step = weight_step(view, form, node, weight)
    error = rounded(values, step, axis) * _along(step, values, axis) - values
    noise = float(np.square(error, dtype=np.float64).sum())
    return 10 * np.log10(np.square(values, dtype=np.float64).sum() / noise) if noise else np.inf


def rounded(values: NDArray[np.float32], step: NDArray[np.float32], axis: int) -> NDArray[np.int8]:
    """Return `values` in int8, -127 … 127, rounded half to even as QuantizeLinear does."""
    whole = np.rint(values / _along(step, values, axis))
    return np.asarray(np.clip(whole, -127, 127), np.int8)


def _along(
    step: NDArray[np.float32], values: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Shape the steps so that they broadcast along `axis` of `values`."""
    return step.reshape([-1 if at == axis and step.ndim else 1 for at in range(values.ndim)])


def output_axis(node: onnx.NodeProto) -> int:
    """Return the axis of the weight that counts output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return 1  # MatMul (in,out) and ConvTranspose (in,out,…)


def _finite(view: GraphView, node: onnx.NodeProto, weight: str) -> NDArray[np.float32]:
    found = view.array(weight)
    if found is None or not np.isfinite(found).all():
        raise InputError(
            f"Expected finite weights of {node.name}, but got others: check the checkpoint."
        )
    return found.astype(np.float32)


def _one_scale(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.array(weight_scales(values.reshape(1, -1), 0)[0])
