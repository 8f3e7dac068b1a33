"""LayerNormalization taken apart, for TensorRT 8.5, whose parser has no such operator.

y = (x − mean) / sqrt(var + eps) · scale + bias over the trailing axes (ONNX, LayerNormalization).
Everything is computed in FP32, whatever the type around it: the square overflows FP16 where the
norm itself does not (NVIDIA/TensorRT issue 2564).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

PIECE = ":"  # between the name of a norm and that of its piece
_AXES_AS_INPUT = 18  # since this opset ReduceMean takes its axes as an input
_FLOAT = 1  # TensorProto.FLOAT


def whole(name: str) -> str:
    """Return the name of the node a piece was taken from; any other name is its own.

    >>> whole("/norm/LayerNormalization:Sub"), whole("/q/MatMul")
    ('/norm/LayerNormalization', '/q/MatMul')
    """
    head, _, piece = name.rpartition(PIECE)
    return head if head.endswith("LayerNormalization") and piece else name


def take_apart(model: onnx.ModelProto) -> int:
    """Replace every LayerNormalization of `model` by its pieces, in place; return how many."""
    import onnx

    typed = onnx.shape_inference.infer_shapes(model)
    known = (*typed.graph.value_info, *typed.graph.input, *typed.graph.output)
    kinds = {item.name: item.type.tensor_type for item in known}
    opset = max(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    nodes, count = [], 0
    for node in model.graph.node:
        if node.op_type != "LayerNormalization" or any(node.output[1:]):
            nodes.append(node)
            continue
        kind = kinds.get(node.input[0])
        rank = len(kind.shape.dim) if kind is not None else 0
        elem = kind.elem_type if kind is not None else _FLOAT
        pieces = _Pieces(node, rank, opset, elem)
        nodes += pieces.nodes()
        model.graph.initializer.extend(pieces.constants)
        count += 1
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return count


class _Pieces:
    """The nodes of one norm; tensors and nodes are named after it."""

    def __init__(self, node: onnx.NodeProto, rank: int, opset: int, elem_type: int) -> None:
        import onnx

        given = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        axis = int(given.get("axis", -1))
        self._node, self._name, self._half = node, node.name, elem_type != _FLOAT
        self._elem_type = elem_type
        self._axes = list(range(axis, 0)) if axis < 0 else list(range(axis - rank, 0))
        self._axes_as_input = opset >= _AXES_AS_INPUT
        self._made: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._eps = float(given.get("epsilon", 1e-5))

    def nodes(self) -> list[onnx.NodeProto]:
        """Return the pieces in order; the last makes the norm's own output."""
        node = self._node
        x = self._float("x", node.input[0])
        centred = self._add("Sub", [x, self._mean("Mean", x)])
        variance = self._mean("Variance", self._add("Mul", [centred, centred]))
        deviation = self._add("Sqrt", [self._add("Add", [variance, self._constant("eps")])])
        result = self._add("Div", [centred, deviation])
        result = self._add("Mul", [result, self._float("scale", node.input[1])], "Scale")
        if len(node.input) > 2 and node.input[2]:
            result = self._add("Add", [result, self._float("bias", node.input[2])], "Bias")
        if self._half:
            self._add("Cast", [result], "Back", to=self._elem_type)
        self._made[-1].output[0] = node.output[0]
        return self._made

    def _add(self, operator: str, inputs: list[str], piece: str = "", **attributes: Any) -> str:
        import onnx

        name = f"{self._name}{PIECE}{piece or operator}"
        made = onnx.helper.make_node(operator, inputs, [f"{name}_out"], name=name, **attributes)
        self._made.append(made)
        return str(made.output[0])

    def _mean(self, piece: str, source: str) -> str:
        import onnx

        result = self._add("ReduceMean", [source], piece, keepdims=1)
        if self._axes_as_input:
            self._made[-1].input.append(self._constant(f"{piece}_axes", self._axes))
        else:
            self._made[-1].attribute.append(onnx.helper.make_attribute("axes", self._axes))
        return result

    def _float(self, piece: str, source: str) -> str:
        """Return `source` in FP32."""
        return self._add("Cast", [source], f"Cast_{piece}", to=_FLOAT) if self._half else source

    def _constant(self, piece: str, values: list[int] | None = None) -> str:
        import onnx

        array = np.array(self._eps, np.float32) if values is None else np.array(values, np.int64)
        name = f"{self._name}{PIECE}{piece}"
        self.constants.append(onnx.numpy_helper.from_array(array, name))
        return name
