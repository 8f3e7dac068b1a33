"""Other values for a constant one node reads, and for that node alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .view import GraphView

if TYPE_CHECKING:
    import onnx


class Constants:
    """Writes constants of `model` in place."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Index `model`; its edges must not change otherwise."""
        self.graph = model.graph
        self.view = GraphView(model)
        self._own = {item.name: item for item in model.graph.initializer}
        self._outside = {item.name for item in (*model.graph.output, *model.graph.input)}

    def alone(self, name: str) -> bool:
        """Say whether `name` is a constant of the graph that one node reads, at one place."""
        free = name in self._own and name not in self._outside
        return free and len(self.view.readers[name]) == 1

    def write(self, node: onnx.NodeProto, position: int, values: NDArray[Any]) -> None:
        """Make `values` the input of `node` at `position`, which may be the next it has not.

        A constant that others read too keeps its values, the node gets one of its own.
        """
        from onnx import numpy_helper

        while len(node.input) <= position:
            node.input.append("")
        name = node.input[position]
        if self.alone(name):
            self._own[name].CopyFrom(numpy_helper.from_array(np.array(values, order="C"), name))
            return
        name = f"{node.name}/input{position}"
        while name in self._own:
            name += "_"
        node.input[position] = name
        self.graph.initializer.append(numpy_helper.from_array(np.array(values, order="C"), name))
        self._own[name] = self.graph.initializer[-1]
