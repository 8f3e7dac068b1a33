"""Parameters and multiply-accumulates of an ONNX graph, counted on its own nodes.

A rewritten graph does less work than the checkpoint it came from; counting the nodes shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx
from onnx import shape_inference

Shape = tuple[int, ...]


@dataclass(frozen=True)
class OnnxCost:
    """Elements of the float initialisers, and GMACs per image (None where a shape is unknown)."""

    parameters: int
    gmacs: float | None


def onnx_cost(path: Path, input_shape: Shape) -> OnnxCost:
    """Return the cost of the graph in `path` for an input of (batch,3,height,width).

    Convolutions, matrix products and Gemm are counted, as every MAC count of this model does.
    """
    model = onnx.load(path)
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    weights = [item for item in model.graph.initializer if item.data_type in floats]
    parameters = sum(prod(item.dims) for item in weights if len(item.dims) > 0)
    total = _macs(model, input_shape)
    return OnnxCost(parameters, None if total is None else total / input_shape[0] / 1e9)


def with_shapes(model: onnx.ModelProto, input_shape: Shape) -> onnx.GraphProto | None:
    """Return the graph with every shape inferred for an input of `input_shape`.

    `model` is changed. None where the input has another rank or the shapes contradict each other.
    """
    dims = model.graph.input[0].type.tensor_type.shape.dim
    if len(dims) != len(input_shape):
        return None
    for dim, value in zip(dims, input_shape, strict=True):
        dim.dim_value = value
    del model.graph.value_info[:]  # the exporter's shapes may name free dimensions
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        return shape_inference.infer_shapes(model, data_prop=True).graph
    except shape_inference.InferenceError:
        return None


def _macs(model: onnx.ModelProto, input_shape: Shape) -> int | None:
    graph = with_shapes(model, input_shape)
    if graph is None:
        return None
    shapes = known_shapes(graph)
    counts = [node_macs(node, shapes) for node in graph.node if node.op_type in PRODUCTS]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def node_macs(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    """Return output elements × length of the sum behind each, or None without shapes."""
    left, right = shapes.get(node.input[0]), shapes.get(node.input[1])
    out = shapes.get(node.output[0])
    if left is None or right is None or out is None:
        return None
    if node.op_type in ("Conv", "ConvTranspose"):
        # (M, C/group, kh, kw): all but the first; transposed (C, M/group, kh, kw): by the input
        transposed = node.op_type == "ConvTranspose"
        return prod(left if transposed else out) * prod(right[1:])
    transposed_a = any(item.name == "transA" and item.i for item in node.attribute)
    return prod(out) * left[-2 if transposed_a else -1]


def known_shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    """Return every fully known shape in the graph."""
    found: dict[str, Shape] = {item.name: tuple(item.dims) for item in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            found[value.name] = tuple(d.dim_value for d in dims)
    return found


PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
