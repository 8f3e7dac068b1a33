"""How far 8 bits move the mean of each product's output, on what the quantized graph feeds it.

A copy of the Q/DQ graph gets, beside each product, its float twin: the same operator with the
float weight, on the tensor in front of the quantizer. Only the sum of their difference leaves the
runtime, one number per output channel, so memory does not grow with the images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...common.errors import InputError
from .graph_sums import constant_node, summed, with_outputs
from .view import LAYOUT, GraphView

if TYPE_CHECKING:
    import onnx

_FLOAT = 1  # TensorProto.FLOAT


def mean_errors(
    quantized: onnx.ModelProto,
    reference: onnx.ModelProto,
    products: Mapping[str, int],
    images: Iterable[NDArray[Any]],
) -> dict[str, NDArray[np.float64]]:
    """Return the mean of (quantized - float) output per channel (out,) of each of `products`.

    Args:
        quantized: the Q/DQ graph; node names are those of `reference`.
        reference: the float graph whose constants the twins have.
        products: names of nodes with a constant weight, and how many axes their output has; 0 for
            a matrix product, whose channels are the last axis. A convolution's are the second.
        images: pixels (B,3,H,W) as the graph takes them, read once, one at a time.

    Raises:
        InputError: no image, or an output that is not finite (its node).
    """
    views = GraphView(quantized), GraphView(reference)
    probes = [_twin(*views, name, axes) for name, axes in products.items()]
    sums = summed(with_outputs(quantized, probes), images)
    found = {}
    for name, (_, (total, count)) in zip(products, probes, strict=True):
        mean = sums[total].ravel() * sums[total].size / float(sums[count])
        if not np.isfinite(mean).all():
            raise InputError(
                f"Expected finite outputs of {name} in INT8, but got others: calibrate on more "
                "--images, or --exclude it."
            )
        found[name] = mean
    return found


def _twin(
    view: GraphView, floats: GraphView, name: str, axes: int
) -> tuple[list[onnx.NodeProto], tuple[str, str]]:
    """Return the nodes beside one product, and the outputs: sum and number of differences."""
    import onnx
    from onnx import helper

    stem, node = f"segship/{name}", floats.named[name]
    nodes: list[onnx.NodeProto] = []
    twin = onnx.NodeProto()
    twin.CopyFrom(node)
    twin.name = twin.output[0] = f"{stem}/twin"
    twin.input[0] = _raw(view, view.named[name].input[0], stem, nodes)
    for position in range(1, len(node.input)):
        values = floats.array(node.input[position])
        if values is not None:
            twin.input[position] = f"{stem}/input{position}"
            nodes.append(constant_node(twin.input[position], values))
    difference, made = f"{stem}/difference", view.named[name].output[0]
    nodes += [twin, helper.make_node("Sub", [made, twin.output[0]], [difference])]
    return nodes + _sums(difference, stem, axes), (f"{stem}/sum", f"{stem}/count")


def _sums(source: str, stem: str, axes: int) -> list[onnx.NodeProto]:
    """Return the nodes that sum `source` per channel, and count its values."""
    from onnx import helper

    nodes = []
    places = np.array([axis for axis in range(axes) if axis != 1])
    if not axes:  # all axes but the last become one
        last = f"{stem}/last"
        nodes.append(helper.make_node("Flatten", [source], [last], axis=-1))
        source, places = last, np.array([0])
    over, size = f"{stem}/axes", f"{stem}/size"
    return [
        *nodes,
        constant_node(over, places),
        helper.make_node("ReduceSum", [source, over], [f"{stem}/sum"], keepdims=0),
        helper.make_node("Size", [source], [size]),
        helper.make_node("Cast", [size], [f"{stem}/count"], to=_FLOAT),
    ]


def _raw(view: GraphView, name: str, stem: str, nodes: list[onnx.NodeProto]) -> str:
    """Return what `name` is in front of its quantizer, laid out alike by new `nodes`."""
    import onnx

    maker = view.producer.get(name)
    if maker is None or maker.op_type not in {*LAYOUT, "DequantizeLinear"}:
        return name
    if maker.op_type == "DequantizeLinear":
        return str(view.producer[maker.input[0]].input[0])
    above = _raw(view, maker.input[0], stem, nodes)
    if above == maker.input[0]:
        return name
    copy = onnx.NodeProto()
    copy.CopyFrom(maker)
    copy.input[0] = above
    copy.name = copy.output[0] = f"{stem}{maker.output[0]}"
    nodes.append(copy)
    return str(copy.output[0])
