"""Find the first tensor of a graph that holds NaN or infinity for a given image."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .fp16 import has_half
from .fp16_rounding import rounded
from .fp16_types import float_tensors
from .parts import part_of

if TYPE_CHECKING:
    import onnx

_AT_ONCE = 48  # tensors probed in one run: bounds the memory they hold until its end


def hidden_overflow(model: onnx.ModelProto, batches: Iterable[NDArray[Any]]) -> str:
    """Return the first tensor that is not finite where a quantizer of FP16 could hide it.

    QuantizeLinear takes infinity for its largest number, so that an output says nothing. "" where
    no tensor is, and for a graph without FP16 or quantizers.
    """
    read = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    if not read or not has_half(model):
        return ""
    for pixels in batches:
        if first_not_finite(model, pixels, read):
            return first_not_finite(model, pixels)
    return ""


def first_not_finite(
    model: onnx.ModelProto, pixels: NDArray[Any], among: Collection[str] | None = None
) -> str:
    """Return the first tensor in forward order that is not finite, with its part; "" for none.

    An FP16 graph runs as FP16 hardware would run it. `pixels` are what the graph takes; `among`
    restricts the search to some tensors.
    """
    import onnx

    named = [(name, node.name) for node in model.graph.node for name in node.output]
    single = onnx.ModelProto()
    single.CopyFrom(rounded(model))
    known = float_tensors(single)
    known = known if among is None else known.intersection(among)
    watched = [(name, node) for name, node in named if name in known]
    for start in range(0, len(watched), _AT_ONCE):
        group = watched[start : start + _AT_ONCE]
        for (name, node), total in zip(group, _totals(single, group, pixels), strict=True):
            if not np.isfinite(total):
                part = part_of(node)
                return f"{name} ({part})" if part else name
    return ""


def _totals(
    model: onnx.ModelProto, group: list[tuple[str, str]], pixels: NDArray[Any]
) -> list[float]:
    """Return sum(0·x) of each tensor: 0 where all is finite, NaN elsewhere."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    graph = probed.graph
    del graph.output[:]
    graph.initializer.append(numpy_helper.from_array(np.zeros((), np.float32), "segship/zero"))
    for index, (name, _) in enumerate(group):
        stem = f"segship/finite{index}"
        graph.node.append(helper.make_node("Mul", [name, "segship/zero"], [f"{stem}/zeros"]))
        graph.node.append(helper.make_node("ReduceSum", [f"{stem}/zeros"], [stem], keepdims=0))
        graph.output.append(helper.make_tensor_value_info(stem, onnx.TensorProto.FLOAT, []))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # nothing may be simplified away between a tensor and its probe
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (taken,) = session.get_inputs()
    return [float(value) for value in session.run(None, {taken.name: pixels})]
