"""Whether Jetson's DLA can run a graph, and why not: from the graph, before anything is built.

Facts: https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/dla-layer-restrictions.html
(operators, no free dimensions), https://docs.nvidia.com/deeplearning/tensorrt/11.4.1/inference-library/work-with-dla.html
(releases). Not run on a DLA here.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ...common.errors import InputError
from ...runtimes.session import TensorInfo
from ...runtimes.tensorrt.portability import version_numbers
from .precision import FP16, GraphPrecision
from .shapes import is_static

if TYPE_CHECKING:
    import onnx

# What TensorRT's documentation lists for Jetson, in ONNX's words; Softmax (Orin alone, up to 1024
# values) is left out: a part that moves between DLA and GPU costs more than it saves.
_ON_DLA = frozenset(
    "Conv ConvTranspose Relu LeakyRelu PRelu Sigmoid Tanh Clip Add Sub Mul Div Max Min Pow Concat "
    "MaxPool AveragePool GlobalAveragePool BatchNormalization Resize Slice Abs Sin Cos Atan "
    "Reshape Transpose Flatten Squeeze Unsqueeze".split()
)
_FREE = frozenset(("Constant", "Identity", "Cast", "QuantizeLinear", "DequantizeLinear"))
_SHOWN = 4


def refuse_dla(
    model: onnx.ModelProto, image: TensorInfo, found: GraphPrecision, version: str, cores: int
) -> None:
    """Refuse to build for the DLA what it cannot run whole.

    Args:
        model: the graph.
        image: its input.
        found: the precision it asks for.
        version: the installed TensorRT.
        cores: DLA cores of this device.

    Raises:
        InputError: the first reason of release, operators, free dimensions, precision, device.
    """
    reason = (
        _release(version)
        or _operators(model)
        or ("" if is_static(image) else "it has no free dimensions: export without --dynamic")
        or _precision(found)
        or ("" if cores else "this device has none")
    )
    if reason:
        raise InputError(f"Expected a graph the DLA can run, but {reason}: leave out --dla.")


def _release(version: str) -> str:
    """Return why this TensorRT builds nothing for the DLA, "" where it does."""
    numbers = version_numbers(version)
    if (10, 7, 99) < numbers < (11, 4, 1):
        return f"TensorRT {version} has none (10.7 and earlier, or 11.4.1 on AGX Orin)"
    return ""


def _operators(model: onnx.ModelProto) -> str:
    counts = Counter(
        node.op_type for node in model.graph.node if node.op_type not in _ON_DLA | _FREE
    )
    if not counts:
        return ""
    listed = ", ".join(f"{name} ({count})" for name, count in counts.most_common(_SHOWN))
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return f"it has no {listed}{more}"


def _precision(found: GraphPrecision) -> str:
    if found.quantizers:
        return "it takes no Q/DQ"
    return "" if found.has(FP16) else f"it computes in FP16, and the graph in {found.kind.upper()}"
