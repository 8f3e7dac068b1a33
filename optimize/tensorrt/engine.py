"""What a freshly built engine says about itself: inputs, outputs, layers, memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from ...common.errors import CheckFailedError
from ...runtimes.session import TensorInfo
from .failure import BuildLog
from .layers import LayerRow, read_layers

_MEBI = 1 << 20
_IMAGE_AXES, _MAP_AXES = ("batch", "channels", "height", "width"), ("batch",)
_NUMPY = {  # tensorrt.DataType by name; what numpy has no type for keeps its own name
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


@dataclass(frozen=True)
class EngineFacts:
    """Inputs and outputs as the engine binds them, its layers, and the memory of one context."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    layers: tuple[LayerRow, ...]
    activations_mib: float


def inspect_plan(
    trt: Any, data: bytes, names: tuple[str, ...], *, version_compatible: bool, memory: str
) -> EngineFacts:
    """Deserialize a plan that was just built and read what it became.

    Args:
        trt: the tensorrt module.
        data: the plan.
        names: the graph's node names in order.
        version_compatible: the plan brings its own runtime, which must be allowed to run.
        memory: what this generation calls the bytes of an engine's activations.

    Raises:
        CheckFailedError: TensorRT does not take its own plan.
    """
    log = BuildLog()
    runtime = trt.Runtime(log.logger(trt))
    if version_compatible:
        runtime.engine_host_code_allowed = True  # our own bytes, of a moment ago
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        last = log.errors[-1] if log.errors else "no reason given"
        raise CheckFailedError(f"Expected the new engine to load, but it does not: {last}.")
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    tensors = [_tensor(trt, engine, index) for index in range(engine.num_io_tensors)]
    return EngineFacts(
        tuple(item for item, is_input in tensors if is_input),
        tuple(item for item, is_input in tensors if not is_input),
        read_layers(text, names),
        getattr(engine, memory) / _MEBI,
    )


def _tensor(trt: Any, engine: Any, index: int) -> tuple[TensorInfo, bool]:
    """Return one input or output, and whether it is an input; a free dimension gets a name."""
    name = engine.get_tensor_name(index)
    is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
    axes = _IMAGE_AXES if is_input else _MAP_AXES
    shape = tuple(
        int(side) if side >= 0 else free
        for side, free in zip(
            tuple(engine.get_tensor_shape(name)), chain(axes, repeat("?")), strict=False
        )
    )
    kind = engine.get_tensor_dtype(name).name
    return TensorInfo(name, _NUMPY.get(kind, kind.lower()), shape), is_input
