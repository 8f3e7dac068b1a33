"""Run a graph on images and add up what it returns: nothing else is kept of an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...common.errors import InputError
from ...common.machine import usable_cores

if TYPE_CHECKING:
    import onnx


def with_outputs(
    model: onnx.ModelProto, probes: Sequence[tuple[Sequence[onnx.NodeProto], Sequence[str]]]
) -> onnx.ModelProto:
    """Return a copy of `model` with `probes` as its only outputs.

    Each probe is its nodes and the names of its float32 outputs, in forward order of what they
    look at. The last is written first: calibration/probe.py has the reason.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    for nodes, _ in reversed(probes):
        copy.graph.node.extend(nodes)
    for _, names in probes:
        copy.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
        )
    return copy


def constant_node(name: str, values: NDArray[Any]) -> onnx.NodeProto:
    """Return a node that makes the tensor `name` of `values`."""
    from onnx import helper, numpy_helper

    tensor = numpy_helper.from_array(np.array(values, order="C"), name)
    return helper.make_node("Constant", [], [name], value=tensor)


def summed(model: onnx.ModelProto, images: Iterable[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the sum of every output of `model` over `images`, float64.

    Q/DQ pairs run as their definition says, never as the integer kernels of this processor, some
    of which saturate: what is learned from the sums goes into a file for any machine.

    Args:
        model: its outputs must have the same shape for every image.
        images: pixels (B,3,H,W) as the graph takes them, read once, one at a time.

    Raises:
        InputError: no image, or one the graph does not take.
    """
    session = _open(model)
    (taken,) = session.get_inputs()
    sums: dict[str, NDArray[Any]] = {}
    for pixels in images:
        try:
            results = session.run(None, {taken.name: pixels})
        except Exception as error:  # ONNX Runtime's exception classes share no public base
            reason = " ".join(str(error).split())[:300]
            raise InputError(
                f"Expected images the graph takes, but ONNX Runtime says: {reason}"
            ) from error
        for output, value in zip(model.graph.output, results, strict=True):
            sums[output.name] = sums.get(output.name, 0.0) + np.asarray(value, np.float64)
    if not sums:
        raise InputError("Expected images to compare INT8 with float on, but got none.")
    return sums


def _open(model: onnx.ModelProto) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
