"""New nodes and constants of a graph, collected first and put in place at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

    from .edges import Edge

SMALLEST_SCALE = np.float32(1e-30)  # of a tensor that is always zero


@dataclass
class Writing:
    """Nodes by the node they follow ("": the start) or precede, new constants, new readings."""

    after: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)
    before: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    renamed: dict[Edge, str] = field(default_factory=dict)

    def keep(self, name: str, values: NDArray[np.generic]) -> str:
        """Add a constant once and return its name."""
        from onnx import numpy_helper

        if name not in self.constants:
            # not ascontiguousarray: it would make a scalar one-dimensional
            self.constants[name] = numpy_helper.from_array(np.array(values, order="C"), name)
        return name

    def apply(self, graph: onnx.GraphProto) -> None:
        """Rebuild `graph` in forward order with everything collected, without idle constants."""
        nodes = list(graph.node)
        del graph.node[:]
        graph.node.extend(self.after.get("", []))
        for node in nodes:
            for position in range(len(node.input)):
                new = self.renamed.get((node.name, position))
                if new is not None:
                    node.input[position] = new
            graph.node.extend(self.before.get(node.name, []))
            graph.node.append(node)
            graph.node.extend(self.after.get(node.name, []))
        graph.initializer.extend(self.constants.values())
        _drop_idle(graph)


def _drop_idle(graph: onnx.GraphProto) -> None:
    """Remove constants nobody reads any more: the float weights."""
    used = {name for node in graph.node for name in node.input}
    used.update(item.name for item in graph.output)
    nodes = [node for node in graph.node if not _idle(node, used)]
    if len(nodes) < len(graph.node):
        del graph.node[:]
        graph.node.extend(nodes)
        return _drop_idle(graph)
    kept = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _idle(node: onnx.NodeProto, used: set[str]) -> bool:
    return node.op_type in ("Constant", "Identity") and not used.intersection(node.output)
