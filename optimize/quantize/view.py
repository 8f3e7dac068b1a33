"""Read-only questions about an ONNX graph: who makes a tensor, who reads it, is it a constant."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

# Operators that only lay values out anew: a range holds on both sides of them.
LAYOUT = frozenset({"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"})
QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})


class GraphView:
    """The edges and constants of a model's main graph; the model must not change meanwhile."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Index `model`."""
        graph = model.graph
        self.nodes = list(graph.node)
        self.outputs = {item.name for item in graph.output}
        self.named = {node.name: node for node in graph.node}
        self.producer: dict[str, onnx.NodeProto] = {}
        self.readers: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
        self._tensors: dict[str, onnx.TensorProto] = {t.name: t for t in graph.initializer}
        for node in graph.node:
            for name in node.output:
                self.producer[name] = node
            for index, name in enumerate(node.input):
                self.readers[name].append((node, index))

    def tensor(self, name: str) -> onnx.TensorProto | None:
        """Return the constant called `name`, through Identity, or None if it is computed."""
        found = self._tensors.get(name)
        node = self.producer.get(name)
        if found is not None or node is None:
            return found
        if node.op_type == "Identity":
            return self.tensor(node.input[0])
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            value: onnx.TensorProto = node.attribute[0].t
            return value
        return None

    def array(self, name: str) -> NDArray[Any] | None:
        """Return the values of the constant called `name`, or None."""
        import onnx

        found = self.tensor(name)
        return None if found is None else onnx.numpy_helper.to_array(found)

    def constant(self, name: str) -> bool:
        """Say whether the tensor does not depend on the graph's inputs (one step deep)."""
        node = self.producer.get(name)
        return self.tensor(name) is not None or (node is not None and node.op_type == "Constant")


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """Return an integer attribute of a node."""
    for item in node.attribute:
        if item.name == name:
            return int(item.i)
    return default
