"""The fake's network and parser: layers and tensors as the ONNX file has them."""

from __future__ import annotations

from typing import Any

from .fake_tensorrt_build import report
from .fake_tensorrt_strict import Behaviour, create

# ONNX element type → the members TensorRT's DataType has for it
_TYPES = {1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "HALF"}
_TYPES |= {16: "BF16", 17: "FP8"}
_KINDS = {
    "Conv": "CONVOLUTION",
    "MatMul": "MATRIX_MULTIPLY",
    "Gemm": "MATRIX_MULTIPLY",
    "Softmax": "SOFTMAX",
    "Constant": "CONSTANT",
    "Shape": "SHAPE",
    "Cast": "CAST",
    "Resize": "RESIZE",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "LayerNormalization": "NORMALIZATION",
    "Relu": "ACTIVATION",
    "Erf": "UNARY",
    "Transpose": "SHUFFLE",
    "Reshape": "SHUFFLE",
    "Concat": "CONCATENATION",
}


def describe_graph(network: Any, data: bytes) -> bool:
    """Fill a network from an ONNX model; False where the bytes are none."""
    import onnx

    try:
        model = onnx.load_model_from_string(data)
        known = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # protobuf and onnx raise several classes
        return False
    infos = {item.name: item for item in (*known.value_info, *known.input, *known.output)}
    constants = {item.name for item in model.graph.initializer}
    network._graph, network._model = model.graph, data
    free = [item for item in model.graph.input if item.name not in constants]
    network._inputs = [_tensor(network, infos, item.name) for item in free]
    network._outputs = [_tensor(network, infos, item.name) for item in model.graph.output]
    network._layers = [_layer(network, infos, node, i) for i, node in enumerate(model.graph.node)]
    return True


def _tensor(network: Any, infos: Any, name: str) -> Any:
    """Return an ITensor; a dimension that is not a number is -1."""
    trt, found = network._trt, infos.get(name)
    kind = _TYPES.get(found.type.tensor_type.elem_type, "FLOAT") if found is not None else "FLOAT"
    shape = found.type.tensor_type.shape.dim if found is not None else ()
    lengths = [item.dim_value if item.HasField("dim_value") else -1 for item in shape]
    dtype = getattr(trt.DataType, kind, trt.DataType.FLOAT)
    return create(trt.ITensor, value_name=name, value_dtype=dtype, value_shape=trt.Dims(lengths))


def _layer(network: Any, infos: Any, node: Any, index: int) -> Any:
    trt = network._trt
    kind = getattr(trt.LayerType, _KINDS.get(node.op_type, "ELEMENTWISE"), trt.LayerType.IDENTITY)
    name = node.name or f"(Unnamed Layer* {index}) [{node.op_type}]"
    tensors = {
        "inputs": [_tensor(network, infos, item) for item in node.input],
        "outputs": [_tensor(network, infos, item) for item in node.output],
    }
    fields = {"value_name": name, "value_type": kind, "returned": {}, **tensors}
    return create(trt.ILayer, **fields, value_metadata=f"[ONNX Layer: {node.name}]")


class INetworkDefinition(Behaviour):
    _defaults = {
        "num_inputs": lambda self: len(self._inputs),
        "num_outputs": lambda self: len(self._outputs),
        "num_layers": lambda self: len(self._layers),
        "has_implicit_batch_dimension": False,
        "name": "",
    }

    def get_input(self, index: int) -> Any:
        return self._inputs[index]

    def get_output(self, index: int) -> Any:
        return self._outputs[index]

    def get_layer(self, index: int) -> Any:
        return self._layers[index]

    def get_flag(self, flag: Any) -> bool:
        return flag.name in self._flags

    def mark_output(self, tensor: Any) -> None:
        self._outputs.append(tensor)

    def unmark_output(self, tensor: Any) -> None:
        self._outputs.remove(tensor)


class ILayer(Behaviour):
    _defaults = {
        "num_inputs": lambda self: len(self._inputs),
        "num_outputs": lambda self: len(self._outputs),
        "precision": lambda self: self._trt.DataType.FLOAT,
        "precision_is_set": lambda self: "_value_precision" in vars(self),
    }

    def get_input(self, index: int) -> Any:
        return self._inputs[index]

    def get_output(self, index: int) -> Any:
        return self._outputs[index]

    def set_output_type(self, index: int, dtype: Any) -> None:
        self._returned[index] = dtype

    def get_output_type(self, index: int) -> Any:
        return self._returned.get(index, self._outputs[index].dtype)

    def output_type_is_set(self, index: int) -> bool:
        return index in self._returned

    def reset_precision(self) -> None:
        vars(self).pop("_value_precision", None)


class ITensor(Behaviour):
    _defaults = {
        "location": lambda self: self._trt.TensorLocation.DEVICE,
        "is_shape_tensor": False,
        "is_execution_tensor": True,
        "allowed_formats": 1,
    }


class OnnxParser(Behaviour):
    _defaults = {"num_errors": lambda self: len(self._errors), "flags": 0}

    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self._logger = network, logger
        self._errors: list[dict[str, Any]] = []

    def parse(self, model: Any, path: str | None = None) -> bool:  # noqa: ARG002 - real name
        situation, network = self._trt._situation, self._network
        implicit = "EXPLICIT_BATCH" not in network._flags and self._trt.__version__[:2] == "8."
        told = situation.parse_errors
        if implicit:
            told = ("this parser only supports networks with an explicit batch dimension",)
        self._errors = [item if isinstance(item, dict) else {"desc": item} for item in told]
        if self._errors:
            for item in self._errors:
                report(self, str(item.get("desc", "")))
            return False
        return describe_graph(network, bytes(model))

    def parse_from_file(self, model: str) -> bool:
        with open(model, "rb") as file:
            return bool(self.parse(file.read()))

    def get_error(self, index: int) -> Any:
        return create(self._trt.ParserError, error=self._errors[index])

    def set_flag(self, flag: Any) -> None:
        self._value_flags = self.flags | 1 << int(flag)

    def clear_errors(self) -> None:
        self._errors = []


class ParserError(Behaviour):
    def desc(self) -> str:
        return str(self._error.get("desc", ""))

    def node(self) -> int:
        return int(self._error.get("node", -1))

    def node_name(self) -> str:
        return str(self._error.get("node_name", ""))

    def node_operator(self) -> str:
        return str(self._error.get("node_operator", ""))

    def code(self) -> Any:
        return self._trt.ErrorCode.INTERNAL_ERROR

    def func(self) -> str:
        return "parseNode"

    def file(self) -> str:
        return "ModelImporter.cpp"

    def line(self) -> int:
        return 1
