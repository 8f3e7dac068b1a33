"""TensorRT 8 types no network: the graph's own types are put on its layers one by one.

With OBEY_PRECISION_CONSTRAINTS a build fails rather than compute in another precision. Layers at
a Q/DQ pair are left alone: there the pair decides, and a constraint would keep them from fusing
(TensorRT 8.6 guide, "Explicit Quantization"). Not run on a GPU here.
"""

from __future__ import annotations

import re
from typing import Any

from ..quantize.view import LAYOUT
from .precision import FP16, FP32, KEEP_FLOAT, GraphPrecision, NodeType

# They move values and compute none: their type follows from both sides.
_MOVES = LAYOUT | {"Concat", "Gather", "Identity", "Slice", "Split"}
_METADATA = re.compile(r"\[ONNX Layer: ([^\]]*)\]")


def constrain(trt: Any, network: Any, found: GraphPrecision, *, free: bool) -> tuple[str, ...]:
    """Set precision and output type of every layer the graph says something about.

    Args:
        trt: the tensorrt module.
        network: the parsed network.
        found: what the graph says.
        free: the graph is in FP32 and the user lets TensorRT choose FP16: then only norms,
            softmax and their pieces are held in FP32.

    Returns:
        One note: how many layers were set.
    """
    kinds = {FP32: trt.DataType.FLOAT, FP16: trt.DataType.HALF}
    if not free and found.kind == FP32:
        return ()  # without the FP16 flag there is nothing to hold back
    held = 0
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        node = found.nodes.get(_node_name(layer))
        if node is None or not _wanted(node, free) or not _is_float(trt, layer):
            continue
        layer.precision = kinds[node.precision]
        if node.returned is not None:
            for output in range(layer.num_outputs):
                layer.set_output_type(output, kinds[node.returned])
        held += 1
    return (_note(held, network.num_layers, free),)


def _wanted(node: NodeType, free: bool) -> bool:
    if node.near_int8 or node.operator in _MOVES or node.precision not in (FP32, FP16):
        return False
    return not free or node.operator in KEEP_FLOAT


def _is_float(trt: Any, layer: Any) -> bool:
    """Say whether a layer computes in float: shapes and indices must not be set."""
    if layer.type in (trt.LayerType.CONSTANT, trt.LayerType.SHAPE):
        return False
    floats = (trt.DataType.FLOAT, trt.DataType.HALF)
    return layer.num_outputs > 0 and all(
        layer.get_output(index).dtype in floats for index in range(layer.num_outputs)
    )


def _node_name(layer: Any) -> str:
    """Return the ONNX node a layer was parsed from: its metadata (8.6), else its name."""
    match = _METADATA.search(getattr(layer, "metadata", "") or "")
    return match[1] if match else str(layer.name)


def _note(held: int, layers: int, free: bool) -> str:
    if free:
        return (
            f"FP16 where TensorRT finds it faster, but FP32 in {held} of {layers} layers (norms "
            "and softmax); `segship quantize --precision fp16` decides per node from real images"
        )
    return f"precision set from the graph on {held} of {layers} layers"
