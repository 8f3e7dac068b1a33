"""What FP16 hardware computes, on a machine without any: every result rounded to FP16.

ONNX Runtime has next to no FP16 kernels on a CPU. It runs the nodes in FP32 and leaves the values
between them in FP32 too, so that an overflow never shows (300·300 in FP16 is 90000 there, not
infinite). Casts that stand in an FP32 graph it keeps. `rounded` writes that graph.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...runtimes.artifact import Artifact
from ...runtimes.open import load_artifact
from .fp16 import has_half
from .fp16_types import FLOAT, FLOAT16

if TYPE_CHECKING:
    import onnx


@contextlib.contextmanager
def as_hardware(source: str | Path | Artifact) -> Iterator[Artifact]:
    """Yield an ONNX artifact that gives on a CPU what `source` gives on FP16 hardware.

    A file without FP16 is itself that artifact; of another the yielded file is temporary.
    """
    import onnx

    artifact = source if isinstance(source, Artifact) else load_artifact(source)
    model = onnx.load(str(artifact.path))
    if not has_half(model):
        yield artifact
        return
    with tempfile.TemporaryDirectory(prefix="segship-") as folder:
        path = Path(folder) / artifact.path.name
        onnx.save(rounded(model), str(path))
        yield replace(artifact, path=path)


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an FP32 graph that gives what `model` gives where FP16 nodes sum in FP32.

    Each FP16 result becomes a float32 tensor of the same name whose values are FP16 numbers, or
    infinite past 65504. Inputs and outputs of type float16 become float32.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    described = (*graph.input, *graph.value_info, *graph.output)
    half = {item.name for item in described if item.type.tensor_type.elem_type == FLOAT16}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    _widen_constants(result.graph)
    nodes = list(result.graph.node)
    del result.graph.node[:]
    for item in result.graph.input:
        if item.type.tensor_type.elem_type == FLOAT16:
            item.type.tensor_type.elem_type = FLOAT
            result.graph.node.extend(_round(item.name, f"{item.name}_rounded"))
    taken = {item.name for item in result.graph.input} & half
    for node in nodes:
        for position, name in enumerate(node.input):
            if name in taken:
                node.input[position] = f"{name}_rounded"
        result.graph.node.extend(_node(node, half))
    for item in result.graph.output:
        if item.type.tensor_type.elem_type == FLOAT16:
            item.type.tensor_type.elem_type = FLOAT
    del result.graph.value_info[:]
    return result


def _node(node: onnx.NodeProto, half: set[str]) -> list[onnx.NodeProto]:
    """Return `node` in FP32 and behind it the rounding of each FP16 result."""
    if node.op_type == "Cast":
        for entry in node.attribute:
            if entry.name == "to" and entry.i == FLOAT16:
                entry.i = FLOAT
    made, moves = [node], node.op_type in _MOVES
    for position, name in enumerate(node.output):
        if name in half and not moves:
            node.output[position] = f"{name}_exact"
            made += _round(f"{name}_exact", name)
    return made


# What these return is rounded already: constants, and values laid out anew.
_MOVES = frozenset({"Constant", "Identity", "Reshape", "Transpose", "Flatten", "Relu", "Slice"})


def _round(source: str, output: str) -> list[onnx.NodeProto]:
    from onnx import helper

    middle = f"{output}_half"
    return [
        helper.make_node("Cast", [source], [middle], name=f"{middle}_Cast", to=FLOAT16),
        helper.make_node("Cast", [middle], [output], name=f"{output}_single_Cast", to=FLOAT),
    ]


def _widen_constants(graph: onnx.GraphProto) -> None:
    """Store FP16 constants as float32, value by value."""
    tensors = list(graph.initializer)
    tensors += [
        entry.t
        for node in graph.node
        if node.op_type == "Constant"
        for entry in node.attribute
        if entry.name == "value"
    ]
    for tensor in tensors:
        if tensor.data_type == FLOAT16:
            tensor.CopyFrom(_widened(tensor))


def _widened(tensor: onnx.TensorProto) -> onnx.TensorProto:
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor).astype(np.float32)
    return numpy_helper.from_array(values, tensor.name)
