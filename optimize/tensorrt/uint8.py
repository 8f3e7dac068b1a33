"""UINT8 tensors as TensorRT takes them: only beside a cast from or to a float type.

TensorRT converts UINT8 from and to FP32 and FP16 alone, not INT32, INT64 or BOOL (its DataType,
8.6.1 to 10.x), and lets a UINT8 input feed a cast and nothing else, not even Shape (its operator
pages; NVIDIA/TensorRT issue 3985).
https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/FoundationalTypes/DataType.html
https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/operators/Shape.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_FLOAT, _UINT8, _FLOAT16 = 1, 2, 10  # TensorProto.DataType


def route_uint8(model: onnx.ModelProto) -> int:
    """Put a float type between UINT8 and every other one, in place; return how many nodes changed.

    Labels are whole numbers below 256, which every float type holds: no value changes.
    """
    return _shapes_of_floats(model) + _casts_through_float(model)


def _shapes_of_floats(model: onnx.ModelProto) -> int:
    """Let Shape read what a UINT8 input is cast to."""
    images = {item.name for item in model.graph.input if item.type.tensor_type.elem_type == _UINT8}
    casts = {
        node.input[0]: node
        for node in model.graph.node
        if node.op_type == "Cast" and node.input[0] in images
    }
    shapes = [
        node for node in model.graph.node if node.op_type == "Shape" and node.input[0] in casts
    ]
    for node in shapes:
        node.input[0] = casts[node.input[0]].output[0]
    if shapes:  # the casts need nothing but an input, and must come before their new readers
        first = list(casts.values())
        names = {node.output[0] for node in first}
        nodes = [*first, *(node for node in model.graph.node if node.output[0] not in names)]
        _replace_nodes(model, nodes)
    return len(shapes)


def _casts_through_float(model: onnx.ModelProto) -> int:
    """Cast to FP32 first where something that is no float becomes UINT8."""
    import onnx

    kinds = _types(model)
    nodes, count = [], 0
    for node in model.graph.node:
        to = next((item.i for item in node.attribute if item.name == "to"), None)
        source = kinds.get(node.input[0]) if node.input else None
        if node.op_type == "Cast" and to == _UINT8 and source not in (_FLOAT, _FLOAT16):
            middle = f"{node.output[0]}:float"
            name = f"{node.name}:float"
            nodes.append(onnx.helper.make_node("Cast", [node.input[0]], [middle], name, to=_FLOAT))
            node.input[0] = middle
            count += 1
        nodes.append(node)
    if count:
        _replace_nodes(model, nodes)
    return count


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every tensor that has a known one."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    found = {item.name: item.data_type for item in graph.initializer}
    for item in (*graph.input, *graph.value_info, *graph.output):
        found[item.name] = item.type.tensor_type.elem_type
    return found


def _replace_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
