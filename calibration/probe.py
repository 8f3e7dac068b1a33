"""Where to look in an ONNX graph, and a copy of it that measures itself while it runs.

Taking every tensor out of the runtime would cost gigabytes. The copy has three reductions and a
gather behind every tensor instead, so that only numbers and a sample leave it, and a tensor is
freed as soon as the next operators have read it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..common.errors import InputError

FRACTIONS = "segship/fractions"  # the added input: places in [0, 1), float64 (sample,)
_SAME_VALUES = {"Reshape", "Transpose", "Identity", "Flatten", "Squeeze", "Unsqueeze", "Dropout"}
_NO_VALUES = {"Shape", "Size", "ConstantOfShape"}  # what they return depends on the size alone
_QUANTIZED = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
_REDUCTIONS = ("ReduceMin", "ReduceMax", "ReduceSumSquare")
PARTS = 5  # outputs per tensor: minimum, maximum, sum of squares, number of values, sample


@dataclass(frozen=True)
class Watched:
    """A tensor to observe; `size` is None in a graph of free dimensions.

    `aliases` are the tensors with the same values in another layout, itself among them.
    """

    name: str
    size: int | None
    aliases: tuple[str, ...]


def watch_list(model: Any, tensors: Sequence[str] | None) -> tuple[Watched, ...]:
    """Return the activations of `model` (an onnx.ModelProto) in the graph's order.

    Float32 tensors that depend on the input count; constants and shapes do not. `tensors` asks
    for these alone.

    Raises:
        InputError: the graph is quantized already, or `tensors` has a name that is no activation.
    """
    quantized = [node.name for node in model.graph.node if node.op_type in _QUANTIZED]
    if quantized:
        raise InputError(
            f"Expected a float graph to calibrate, but it is quantized already ({len(quantized)} "
            f"nodes, {quantized[0]!r} first): start from the exported model."
        )
    sizes, sources = _activations(model.graph), _sources(model.graph)
    wanted = list(dict.fromkeys(sizes if tensors is None else tensors))
    for name in wanted:
        if name not in sizes:
            close = difflib.get_close_matches(name, sizes, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "see the names in the graph."
            raise InputError(f"Expected a float activation of the graph, but got {name!r}: {hint}")
    groups: dict[str, list[str]] = {}
    for name in wanted:
        groups.setdefault(sources.get(name, name), []).append(name)
    return tuple(Watched(names[0], sizes[names[0]], tuple(names)) for names in groups.values())


def probed(model: Any, watched: Sequence[Watched], sample: int) -> tuple[bytes, list[str]]:
    """Return a graph with `PARTS` outputs per tensor, and their names in the order of `watched`.

    A tensor of at most `sample` values is given whole (`sample` 0: all are), of others those at
    the places the input `FRACTIONS` says.
    """
    import onnx
    from onnx import TensorProto, helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    del graph.output[:]
    graph.initializer.append(_scalar("segship/flat", [-1]))
    if sample:
        graph.input.append(helper.make_tensor_value_info(FRACTIONS, TensorProto.DOUBLE, [sample]))
    outputs = {item.name: _probes(graph, item, index, sample) for index, item in enumerate(watched)}
    # ONNX Runtime walks up from the last node: with the deepest tensor first there, it meets the
    # probes of a tensor right behind it. In the graph's order every tensor would live to the end
    # (measured on B0, 512x512, 384 tensors: 399 against 1481 MiB resident).
    nodes = [node for item in reversed(watched) for node in outputs[item.name][0]]
    graph.node.extend(nodes)
    names = [name for item in watched for name in outputs[item.name][1]]
    for name in names:
        kind = TensorProto.INT64 if name.endswith("/Size") else TensorProto.FLOAT
        graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return copy.SerializeToString(), names


def _probes(graph: Any, item: Watched, index: int, sample: int) -> tuple[list[Any], list[str]]:
    """Return the nodes that measure one tensor and the names of their outputs."""
    from onnx import helper

    stem = f"segship/{index}"
    nodes = [helper.make_node("Reshape", [item.name, "segship/flat"], [f"{stem}/flat"])]
    names = [f"{stem}/{operator}" for operator in (*_REDUCTIONS, "Size", "sample")]
    for operator, name in zip(_REDUCTIONS, names, strict=False):
        nodes.append(helper.make_node(operator, [f"{stem}/flat"], [name], keepdims=0))
    nodes.append(helper.make_node("Size", [f"{stem}/flat"], [f"{stem}/Size"]))
    if not sample or (item.size is not None and item.size <= sample):
        nodes.append(helper.make_node("Identity", [f"{stem}/flat"], [names[-1]]))
        return nodes, names
    places = f"{stem}/places" if item.size is None else f"segship/size{item.size}/places"
    if item.size is None:
        nodes.extend(_places(f"{stem}/Size", places))
    elif not any(places in node.output for node in graph.node):
        graph.initializer.append(_scalar(f"segship/size{item.size}", item.size))
        graph.node.extend(_places(f"segship/size{item.size}", places))
    nodes.append(helper.make_node("Gather", [f"{stem}/flat", places], [names[-1]]))
    return nodes, names


def _places(size: str, places: str) -> list[Any]:
    """Return the nodes that turn fractions into int64 places below the value of `size`."""
    from onnx import TensorProto, helper

    return [
        helper.make_node("Cast", [size], [f"{places}/size"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", [FRACTIONS, f"{places}/size"], [f"{places}/exact"]),
        helper.make_node("Cast", [f"{places}/exact"], [places], to=TensorProto.INT64),
    ]


def _scalar(name: str, value: Any) -> Any:
    import numpy as np
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array(value), name)


def _activations(graph: Any) -> dict[str, int | None]:
    """Return the float32 tensors that depend on the input, in order, with their sizes."""
    constants = {item.name for item in graph.initializer}
    alive = {item.name for item in graph.input if item.name not in constants}
    described = {
        item.name: item.type.tensor_type
        for item in (*graph.input, *graph.value_info, *graph.output)
    }
    found = [item.name for item in graph.input if item.name in alive]
    for node in graph.node:
        if node.op_type not in _NO_VALUES and any(name in alive for name in node.input):
            alive.update(node.output)
            found.extend(name for name in node.output if name)
    return {
        name: _size(described[name])
        for name in found
        if name in described and described[name].elem_type == 1  # TensorProto.FLOAT
    }


def _size(kind: Any) -> int | None:
    size = 1
    for dimension in kind.shape.dim:
        if not dimension.HasField("dim_value"):
            return None
        size *= dimension.dim_value
    return size if kind.HasField("shape") else None


def _sources(graph: Any) -> dict[str, str]:
    """Return, for every tensor that only lays out another's values anew, that other."""
    sources: dict[str, str] = {}
    for node in graph.node:
        if node.op_type in _SAME_VALUES and node.input:
            sources[node.output[0]] = sources.get(node.input[0], node.input[0])
    return sources
