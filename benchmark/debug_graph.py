"""Run pieces of a graph: what it computes at chosen tensors, and from chosen values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..optimize.quantize.view import GraphView
from .debug_points import needed

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
_GIVEN = "segship/given/"
_UNKNOWN_BYTES = 32 << 20  # what a tensor of unknown shape is taken for when memory is planned
_FLOATS: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    10: np.dtype(np.float16),
    11: np.dtype(np.float64),
}


class Graph:
    """An ONNX graph at one input shape; sizes and types of its tensors are known."""

    def __init__(self, model: onnx.ModelProto, shape: tuple[int, ...]) -> None:
        """Infer every tensor's shape for an input of `shape`; `model` is changed."""
        import onnx

        _fix_input(model, shape)
        try:
            model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        except onnx.shape_inference.InferenceError:
            pass  # sizes stay unknown and are guessed
        self.model, self.view = model, GraphView(model)
        graph = model.graph
        described = (*graph.input, *graph.value_info, *graph.output)
        self._types = {item.name: item.type.tensor_type for item in described}
        self.input: str = graph.input[0].name

    def bytes_of(self, name: str) -> int:
        """Return the size of a tensor as float32."""
        kind = self._types.get(name)
        if kind is None or not all(item.HasField("dim_value") for item in kind.shape.dim):
            return _UNKNOWN_BYTES
        return 4 * int(np.prod([item.dim_value for item in kind.shape.dim], dtype=np.int64))

    def dtype_of(self, name: str) -> np.dtype[Any] | None:
        """Return the type of a tensor of floats, None for others; float32 where unknown."""
        kind = self._types.get(name)
        return _FLOATS.get(kind.elem_type) if kind is not None else _FLOATS[1]

    def piece(self, outputs: Sequence[str], *, given: Collection[str] = (), threads: int) -> Piece:
        """Return what computes `outputs` from the pixels and the tensors `given`."""
        return Piece(self, outputs, given, threads)


class Piece:
    """A part of a graph on ONNX Runtime, in the graph's own arithmetic: nothing is fused."""

    def __init__(
        self, graph: Graph, outputs: Sequence[str], given: Collection[str], threads: int
    ) -> None:
        """Cut `outputs` out of `graph`."""
        import onnxruntime

        nodes, met = needed(graph.view, outputs, {*given, graph.input})
        self.outputs = list(outputs)
        self.given = {name: graph.dtype_of(name) for name in met if name != graph.input}
        self.pixels = graph.input if graph.input in met else None
        model = _cut(graph, nodes, self.given, self.pixels, outputs)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        content = model.SerializeToString()
        del model
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )

    def run(self, pixels: Array, values: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Return the outputs as float32; `values` are what the tensors given hold."""
        feeds = {} if self.pixels is None else {self.pixels: pixels}
        with np.errstate(over="ignore"):  # a value beyond float16 becomes infinite there too
            for name, dtype in self.given.items():
                feeds[_GIVEN + name] = (values or {})[name].astype(dtype or np.float32)
        found = self._session.run(self.outputs, feeds)
        return {
            name: value.astype(np.float32, copy=False)
            for name, value in zip(self.outputs, found, strict=True)
        }


def _cut(
    graph: Graph,
    nodes: Sequence[onnx.NodeProto],
    given: Mapping[str, np.dtype[Any] | None],
    pixels: str | None,
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """Return a model of `nodes` that reads `given` from inputs."""
    import onnx

    cut = onnx.ModelProto()
    cut.ir_version = graph.model.ir_version
    cut.opset_import.extend(graph.model.opset_import)
    cut.graph.name = graph.model.graph.name
    cut.graph.node.extend(nodes)
    for node in cut.graph.node:
        for position, name in enumerate(node.input):
            if name in given:
                node.input[position] = _GIVEN + name
    used = {name for node in cut.graph.node for name in node.input}
    cut.graph.initializer.extend(
        item for item in graph.model.graph.initializer if item.name in used
    )
    if pixels is not None:
        cut.graph.input.append(graph.model.graph.input[0])
    for name, dtype in given.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(dtype or np.dtype(np.float32))
        cut.graph.input.append(onnx.helper.make_tensor_value_info(_GIVEN + name, kind, None))
    cut.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return cut


def _fix_input(model: onnx.ModelProto, shape: tuple[int, ...]) -> None:
    """Give the input of `model` its shape and forget what was inferred for others."""
    constants = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for dimension, length in zip(inputs[0].type.tensor_type.shape.dim, shape, strict=True):
        dimension.dim_value = length
    for item in model.graph.output:
        for dimension in item.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.Clear()
    del model.graph.value_info[:]
