"""What the fake's runtime, engine, context and inspector do: it runs the ONNX model on host memory.

The addresses bound to a context must be readable by this process (a stub CUDA's are).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fake_tensorrt_build import host_memory, report
from .fake_tensorrt_inspect import io_tensors, verbosity
from .fake_tensorrt_plan import read_plan
from .fake_tensorrt_strict import Behaviour, create

Arrays = dict[str, NDArray[Any]]
NUMPY_TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}
_ENGINE_BYTES = 1 << 20  # what the fake says its activations take


class Runtime(Behaviour):
    _defaults = {"max_threads": 1, "engine_host_code_allowed": False, "DLA_core": -1}

    def __init__(self, logger: Any) -> None:
        if not self._trt._situation.gpu:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        plan = read_plan(bytes(serialized_engine))
        if plan is None:
            report(self, "Error Code 1: Serialization (magicTag does not match)")
            return None
        lean = "VERSION_COMPATIBLE" in plan.header["flags"] and self.engine_host_code_allowed
        if plan.header["version"] != self._trt.__version__ and not lean:
            report(self, f"Error Code 6: the engine plan is of version {plan.header['version']}")
            return None
        return create(self._trt.ICudaEngine, plan=plan, header=plan.header, logger=self._logger)


class ICudaEngine(Behaviour):
    _defaults = {
        "name": "Unnamed Network 0",
        "num_io_tensors": lambda self: len(io_tensors(self)),
        "num_layers": lambda self: len(self._header["layers"]),
        "num_optimization_profiles": lambda self: max(1, len(self._header["profiles"])),
        "device_memory_size": _ENGINE_BYTES,
        "device_memory_size_v2": _ENGINE_BYTES,
        "refittable": False,
        "streamable_weights_size": 0,
        "num_aux_streams": 0,
        "profiling_verbosity": lambda self: getattr(
            self._trt.ProfilingVerbosity, verbosity(self._header)
        ),
    }

    def get_tensor_name(self, index: int) -> str:
        return str(io_tensors(self)[index]["name"])

    def get_tensor_mode(self, name: str) -> Any:
        mode, names = self._trt.TensorIOMode, [item["name"] for item in self._header["inputs"]]
        known = any(item["name"] == name for item in io_tensors(self))
        return mode.INPUT if name in names else mode.OUTPUT if known else mode.NONE

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(self._trt.DataType, _named(self, name)["dtype"])

    def get_tensor_shape(self, name: str) -> Any:
        return self._trt.Dims(_named(self, name)["shape"])

    def get_tensor_location(self, name: str) -> Any:
        return self._trt.TensorLocation.DEVICE if _named(self, name) else None

    def get_tensor_format(self, name: str, profile_index: int = 0) -> Any:
        return self._trt.TensorFormat.LINEAR if _named(self, name) else profile_index

    def get_tensor_bytes_per_component(self, name: str, profile_index: int = 0) -> int:
        found = np.dtype(NUMPY_TYPES[_named(self, name)["dtype"]])
        return int(found.itemsize) if profile_index >= 0 else 0

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        profiles = self._header["profiles"]
        fixed = [_named(self, name)["shape"]] * 3
        shapes = profiles[profile_index].get(name, fixed) if profiles else fixed
        return [self._trt.Dims(list(item)) for item in shapes]

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        return _ENGINE_BYTES + profile_index

    def create_execution_context(self, strategy: Any = None) -> Any:
        if self._trt._situation.context_fails:
            report(self, "Error Code 1: Cuda Runtime (out of memory)")
            return None
        fields = {"shapes": {}, "addresses": {}, "profile": 0, "strategy": strategy}
        return create(self._trt.IExecutionContext, of=self, **fields)

    def create_engine_inspector(self) -> Any:
        return create(self._trt.EngineInspector, of=self)

    def serialize(self) -> Any:
        return host_memory(self._trt, self._plan.data)


def _named(engine: Any, name: str) -> dict[str, Any]:
    return next(item for item in io_tensors(engine) if item["name"] == name)


class IExecutionContext(Behaviour):
    _defaults = {
        "engine": lambda self: self._of,
        "profiler": None,
        "name": "",
        "enqueue_emits_profile": True,
        "active_optimization_profile": lambda self: self._profile,
        "all_binding_shapes_specified": lambda self: not self.infer_shapes(),
    }

    def set_input_shape(self, name: str, shape: Any) -> bool:
        low, _, high = self._of.get_tensor_profile_shape(name, self._profile)
        lengths = tuple(int(item) for item in shape)
        fits = len(lengths) == len(tuple(low)) and all(
            a <= b <= c for a, b, c in zip(low, lengths, high, strict=True)
        )
        if fits:
            self._shapes[name] = lengths
        else:
            report(self._of, f"Error Code 3: API Usage Error (shape {lengths} of {name})")
        return fits

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._profile = profile_index
        return profile_index < self._of.num_optimization_profiles and stream_handle is not None

    def get_tensor_shape(self, name: str) -> Any:
        return self._trt.Dims(list(_resolved(self, name)))

    def infer_shapes(self) -> list[str]:
        inputs = self._of._header["inputs"]
        return [i["name"] for i in inputs if -1 in i["shape"] and i["name"] not in self._shapes]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        known = any(item["name"] == name for item in io_tensors(self._of))
        if known:
            self._addresses[name] = int(memory)
        return known

    def get_tensor_address(self, name: str) -> int:
        return int(self._addresses.get(name, 0))

    def execute_async_v3(self, stream_handle: int) -> bool:
        situation, engine = self._trt._situation, self._of
        missing = [i["name"] for i in io_tensors(engine) if not self._addresses.get(i["name"])]
        if missing or self.infer_shapes() or situation.execute_fails or stream_handle is None:
            report(engine, f"Error Code 3: API Usage Error (no address or shape: {missing})")
            return False
        run: Callable[[Any, Arrays], Arrays] = situation.run or _run_onnx
        given = {i["name"]: _view(self, i) for i in engine._header["inputs"]}
        found = run(engine._plan.model, given)
        for item in engine._header["outputs"]:
            view = _view(self, item)
            view[...] = found[item["name"]].astype(view.dtype).reshape(view.shape)
        return True


def _resolved(context: Any, name: str) -> tuple[int, ...]:
    """Return a tensor's shape under the set input shapes; -1 where it is still free."""
    shape = tuple(_named(context._of, name)["shape"])
    if name in context._shapes or -1 not in shape or context.infer_shapes():
        return tuple(context._shapes.get(name, shape))
    import onnx

    model = onnx.load_model_from_string(context._of._plan.model)
    for item in model.graph.input:
        for dim, length in zip(
            item.type.tensor_type.shape.dim, _resolved(context, item.name), strict=True
        ):
            dim.dim_value = length
    for item in model.graph.output:
        if item.name == name:
            item.type.tensor_type.ClearField("shape")
    found = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output
    dims = next(item for item in found if item.name == name).type.tensor_type.shape.dim
    return tuple(item.dim_value for item in dims)


def _view(context: Any, item: Mapping[str, Any]) -> NDArray[Any]:
    """Return the bound memory as an array of the engine's own type and shape."""
    dtype = np.dtype(NUMPY_TYPES[item["dtype"]])
    shape = _resolved(context, item["name"])
    size = int(np.prod(shape)) * dtype.itemsize
    raw = (ctypes.c_ubyte * size).from_address(context._addresses[item["name"]])
    return np.ctypeslib.as_array(raw).view(dtype).reshape(shape)


def _run_onnx(model: bytes, given: Arrays) -> Arrays:
    """Run the model on the CPU with ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))
