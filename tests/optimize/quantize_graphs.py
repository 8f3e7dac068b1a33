"""Small graphs and made-up ranges for the tests of quantization."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from segship.calibration.ranges import Ranges, TensorRange


def graph_of(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, NDArray[Any]],
    shape: Sequence[int | str],
    outputs: Sequence[str] = ("out",),
    opset: int = 17,
) -> onnx.ModelProto:
    """A model x (shape) → outputs; nodes without a name get one."""
    for index, node in enumerate(nodes):
        node.name = node.name or f"{node.op_type}_{index}"
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return onnx.shape_inference.infer_shapes(model)  # gives the outputs their shapes


def ranges_of(names: Iterable[str], low: float = -4.0, high: float = 4.0) -> Ranges:
    """Ranges that give every tensor [low, high]."""
    found = TensorRange(low, high, low, high, clipped=0.0, sqnr_db=40.0, count=100)
    return Ranges("minmax", True, 1, "0" * 64, dict.fromkeys(names, found))


def run(model: onnx.ModelProto, **feeds: NDArray[Any]) -> list[NDArray[Any]]:
    """Run a model in ONNX Runtime with every optimization."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    results: list[NDArray[Any]] = session.run(None, feeds)
    return results


def rounded(values: NDArray[np.float32], step: Any, low: int = -128) -> NDArray[np.float32]:
    """`values` through int8 and back, as the ONNX operators define it."""
    top = 127 if low < 0 else 255
    clipped = np.clip(np.rint(values / step), low, top)
    return np.asarray(clipped * step, np.float32)


def kinds(model: onnx.ModelProto, operator: str) -> list[onnx.NodeProto]:
    """The nodes of one operator, in order."""
    return [node for node in model.graph.node if node.op_type == operator]


def constant(model: onnx.ModelProto, name: str) -> NDArray[Any]:
    """The values of an initializer."""
    (found,) = [item for item in model.graph.initializer if item.name == name]
    return numpy_helper.to_array(found)
