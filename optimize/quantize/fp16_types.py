"""Which inputs and outputs of an operator may be FP16, by ONNX's own schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...calibration.probe import watch_list

if TYPE_CHECKING:
    import onnx

FLOAT, FLOAT16 = 1, 10  # TensorProto.FLOAT, TensorProto.FLOAT16
# What these return depends on sizes alone: they read a tensor of whatever type.
SIZES = frozenset({"Shape", "Size", "ConstantOfShape"})
_HALF = "tensor(float16)"
# What these make has the type an attribute says, FP32 in the graphs that come here.
_TYPED_BY_ATTRIBUTE = frozenset({"Constant", "ConstantOfShape", "EyeLike", "RandomNormal"})


class HalfSlots:
    """Answers for the operator sets one model imports."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Read the operator sets of `model`."""
        self._versions = {item.domain or "": item.version for item in model.opset_import}

    def takes(self, node: onnx.NodeProto, position: int) -> bool:
        """Say whether input `position` of `node` may be FP16."""
        schema = self._schema(node)
        return schema is not None and _allowed(schema.inputs, position, schema)

    def makes(self, node: onnx.NodeProto, position: int) -> bool:
        """Say whether output `position` of `node` may be FP16."""
        if node.op_type in _TYPED_BY_ATTRIBUTE:
            return False
        schema = self._schema(node)
        return schema is not None and _allowed(schema.outputs, position, schema)

    def _schema(self, node: onnx.NodeProto) -> onnx.defs.OpSchema | None:
        import onnx

        domain = node.domain or ""
        if domain not in self._versions:
            return None
        try:
            return onnx.defs.get_schema(node.op_type, self._versions[domain], domain)
        except onnx.defs.SchemaError:
            return None


def float_tensors(model: onnx.ModelProto) -> frozenset[str]:
    """Return the names of the float32 tensors of the main graph, constants among them."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    described = (*graph.input, *graph.value_info, *graph.output)
    found = {item.name for item in described if item.type.tensor_type.elem_type == FLOAT}
    found.update(item.name for item in graph.initializer if item.data_type == FLOAT)
    return frozenset(found)


def activations(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the names of the float32 tensors that depend on the input: what a calibration sees."""
    import onnx

    described = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return tuple(name for item in watch_list(described, None) for name in item.aliases)


def tensor_shapes(model: onnx.ModelProto) -> Mapping[str, tuple[int | None, ...]]:
    """Return the shapes shape inference knows; None stands for a free dimension."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        item.name: tuple(
            side.dim_value if side.HasField("dim_value") else None
            for side in item.type.tensor_type.shape.dim
        )
        for item in (*graph.input, *graph.value_info, *graph.output)
        if item.type.tensor_type.HasField("shape")
    }


def _allowed(
    slots: Sequence[onnx.defs.OpSchema.FormalParameter], position: int, schema: onnx.defs.OpSchema
) -> bool:
    """Say whether the formal parameter of `position` allows FP16; the last may be variadic."""
    if not slots:
        return False
    slot = slots[min(position, len(slots) - 1)]
    allowed = {item.type_param_str: item.allowed_type_strs for item in schema.type_constraints}
    return _HALF in allowed.get(slot.type_str, [slot.type_str])
