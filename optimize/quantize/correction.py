"""Bias correction of a Q/DQ graph: every product gives back the mean 8 bits took from its output.

Rounding and clipping shift the mean of a product (Nagel et al., arXiv 1906.04721, section 4.2).
The shift is measured layer by layer: product and float twin read the same values, those the
quantized network really has in front of the quantizer. So each correction answers for its own
layer only, all can be made at once, and the ranges stay as they are. The corrected biases belong
to the quantized graph; its float parent keeps its own, and in float the corrected graph would
compute something else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.ranges import Ranges
from .constants import Constants
from .local_means import mean_errors
from .plan import INT8, QuantPlan
from .qdq import insert_qdq
from .view import GraphView

if TYPE_CHECKING:
    import onnx

Place = tuple[str, int]  # node name, position of its bias


@dataclass(frozen=True)
class Correction:
    """The float graph with the biases its Q/DQ graph is to have, and how many changed."""

    model: onnx.ModelProto
    layers: int
    notes: tuple[str, ...]


def correct_biases(
    model: onnx.ModelProto,
    ranges: Ranges,
    plan: QuantPlan,
    images: Iterable[NDArray[Any]],
    *,
    reference: onnx.ModelProto | None = None,
) -> Correction:
    """Return `model` with biases that make up for the mean its products lose in INT8.

    Args:
        model: the float graph that `insert_qdq(model, ranges, plan)` quantizes.
        ranges: of its activations.
        plan: which of its nodes become INT8; products of two activations have no bias.
        images: pixels (B,3,H,W) as the graph takes them; read once, one at a time.
        reference: the float graph whose means count, where `model` has rounded weights already.

    Raises:
        InputError: no image, or outputs that are not finite.
    """
    import onnx

    products = [item.node for item in plan.choices if item.precision == INT8 and item.weight]
    view = GraphView(model)
    places = {name: place for name in products if (place := _bias_of(view.named[name], view))}
    if not places:
        return Correction(model, 0, ("bias correction: no product has a bias",))
    axes = {name: _axes(view, name) for name in places}
    quantized = insert_qdq(model, ranges, plan)
    errors = mean_errors(quantized, reference or model, axes, images)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    constants = Constants(result)
    for name, (reader, position) in places.items():
        node = constants.view.named[reader]
        bias = constants.view.array(node.input[position]) if position < len(node.input) else None
        start = np.zeros(errors[name].shape) if bias is None else bias.astype(np.float64)
        constants.write(node, position, (start - errors[name]).astype(np.float32))
    return Correction(result, len(places), (_note(errors, len(products)),))


def _bias_of(node: onnx.NodeProto, view: GraphView) -> Place | None:
    """Return where the bias of a product stands or could stand, None where nowhere."""
    if node.op_type == "MatMul":
        return _added(node, view)
    free = len(node.input) < 3 or not node.input[2]
    if node.op_type == "Gemm" and (free or _scaled(node)):
        return None
    if free:
        return node.name, 2
    tensor, out = view.tensor(node.input[2]), _outputs(node, view)
    return (node.name, 2) if tensor is not None and list(tensor.dims) == [out] else None


def _added(node: onnx.NodeProto, view: GraphView) -> Place | None:
    """Return the constant (…,out) that the only reader of a matrix product adds to it."""
    readers = view.readers[node.output[0]]
    if len(readers) != 1 or node.output[0] in view.outputs:
        return None
    reader, at = readers[0]
    if reader.op_type != "Add":
        return None
    tensor, out = view.tensor(reader.input[1 - at]), _outputs(node, view)
    fits = tensor is not None and list(tensor.dims) == [out]
    return (reader.name, 1 - at) if fits else None


def _scaled(node: onnx.NodeProto) -> bool:
    """Say whether a Gemm multiplies its bias by something."""
    return any(item.name == "beta" and item.f != 1 for item in node.attribute)


def _outputs(node: onnx.NodeProto, view: GraphView) -> int:
    """Return how many channels a product's output has, 0 for an unknown weight."""
    from .qdq_weights import output_axis
    from .view import attribute

    tensor = view.tensor(node.input[1])
    if tensor is None:
        return 0
    groups = attribute(node, "group", 1) if node.op_type == "ConvTranspose" else 1
    axis = -1 if node.op_type == "MatMul" else output_axis(node)
    return int(tensor.dims[axis]) * groups


def _axes(view: GraphView, name: str) -> int:
    """Return the axes of a convolution's output, 0 of a matrix product, as `mean_errors` wants."""
    node = view.named[name]
    tensor = view.tensor(node.input[1])
    return len(tensor.dims) if "Conv" in node.op_type and tensor is not None else 0


def _note(errors: dict[str, NDArray[np.float64]], products: int) -> str:
    peaks = {name: float(np.abs(error).max()) for name, error in errors.items()}
    worst = max(peaks, key=lambda name: peaks[name])
    return (
        f"bias correction: {len(errors)} of {products} products, the largest shift "
        f"{peaks[worst]:.3g} at {worst}"
    )
