"""Which tensors a plan quantizes, and who reads them quantized.

A quantizer commutes with operators that only lay values out anew. It is moved up to the tensor
they start from, so that a LayerNorm's output is quantized once, whichever way its readers take
it, and what lies between moves int8. Above a product of two activations it is not moved: there it
would come between the operators a fused attention kernel is recognised by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plan import INT8, NodeChoice, QuantPlan
from .view import LAYOUT, GraphView

if TYPE_CHECKING:
    import onnx

Edge = tuple[str, int]  # node name, position among its inputs


def quantized_tensors(model: onnx.ModelProto, plan: QuantPlan) -> dict[str, tuple[Edge, ...]]:
    """Return tensor → the edges that read it quantized, in forward order of the first reader.

    These are the activations a calibration must know.
    """
    view = GraphView(model)
    found: dict[str, list[Edge]] = {}
    chosen = {item.node: item for item in plan.choices if item.precision == INT8}
    for node in view.nodes:
        if node.name in chosen:
            _add(found, view, chosen[node.name], node)
    if plan.form.outputs:
        _add_outputs(found, view, chosen)
    _hoist(found, view)
    if plan.form.residual:
        _add_residuals(found, view, chosen)
    return {name: tuple(edges) for name, edges in found.items()}


def _add(
    found: dict[str, list[Edge]], view: GraphView, choice: NodeChoice, node: onnx.NodeProto
) -> None:
    for position, name in enumerate(node.input):
        if name in choice.inputs and not view.constant(name):
            found.setdefault(name, []).append((node.name, position))


def _add_outputs(
    found: dict[str, list[Edge]], view: GraphView, chosen: dict[str, NodeChoice]
) -> None:
    """Quantize the outputs of convolutions for all their readers."""
    for node in view.nodes:
        if node.name in chosen and node.op_type == "Conv":
            readers = view.readers[node.output[0]]
            if readers and node.output[0] not in view.outputs:
                found[node.output[0]] = [(reader.name, at) for reader, at in readers]


def _hoist(found: dict[str, list[Edge]], view: GraphView) -> None:
    """Move each quantizer above the layout operators in front of it where all readers agree."""
    waiting = list(found)
    while waiting:
        name = waiting.pop(0)
        node = view.producer.get(name)
        if node is None or node.op_type not in LAYOUT or name in view.outputs:
            continue
        readers = {(reader.name, at) for reader, at in view.readers[name]}
        if name not in found or readers != set(found[name]) or _of_product(name, view):
            continue
        del found[name]
        found.setdefault(node.input[0], []).append((node.name, 0))
        waiting.append(node.input[0])


def _of_product(name: str, view: GraphView) -> bool:
    """Say whether the tensor is a product of two activations, laid out anew."""
    node = view.producer.get(name)
    while node is not None and node.op_type in LAYOUT:
        node = view.producer.get(node.input[0])
    return node is not None and node.op_type == "MatMul" and view.tensor(node.input[1]) is None


def _add_residuals(
    found: dict[str, list[Edge]], view: GraphView, chosen: dict[str, NodeChoice]
) -> None:
    """Quantize the other input of a sum between a quantized product and a quantizer.

    TensorRT then fuses product, sum and quantizer into one int8 kernel.
    """
    for node in view.nodes:
        if node.op_type != "Add" or node.name in chosen or not _quantized_after(node, found, view):
            continue
        made = [view.producer.get(name) for name in node.input]
        products = [maker is not None and maker.name in chosen for maker in made]
        if products.count(True) == 0 or any(view.constant(name) for name in node.input):
            continue
        other = 1 if products[0] else 0
        found.setdefault(node.input[other], []).append((node.name, other))


def _quantized_after(node: onnx.NodeProto, found: dict[str, list[Edge]], view: GraphView) -> bool:
    """Say whether what `node` makes, or the ReLU behind it, is read only quantized."""
    output = node.output[0]
    readers = view.readers[output]
    if len(readers) == 1 and readers[0][0].op_type == "Relu":
        output = readers[0][0].output[0]
        readers = view.readers[output]
    return output in found and {(r.name, at) for r, at in readers} == set(found[output])
