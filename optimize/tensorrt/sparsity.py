"""How much of an ONNX graph's weights is 2:4 sparse, counted on the weights themselves.

Sparse tensor cores skip two of four neighbouring weights along the dimension a product sums over
(TensorRT guide, "Structured Sparsity"): the input channels of a convolution, the rows of a linear
layer. A builder flag alone makes no weight sparse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..quantize.view import LAYOUT, QUANTIZERS, GraphView, attribute

if TYPE_CHECKING:
    import onnx

_GROUP, _KEPT = 4, 2


@dataclass(frozen=True)
class Sparsity:
    """Weights of products: how many tensors and values are 2:4, of how many that could be."""

    sparse_tensors: int
    tensors: int
    sparse_values: int
    values: int

    def __str__(self) -> str:
        """Return one sentence.

        >>> str(Sparsity(1, 4, 50, 100))
        '1 of 4 weights are 2:4 sparse (50.0 % of their values)'
        """
        share = 100 * self.sparse_values / self.values if self.values else 0.0
        return (
            f"{self.sparse_tensors} of {self.tensors} weights are 2:4 sparse "
            f"({share:.1f} % of their values)"
        )


def count_sparsity(model: onnx.ModelProto) -> Sparsity:
    """Count the weights of convolutions and linear layers that are 2:4.

    A weight whose summed dimension is no multiple of 4, and that of a depthwise convolution,
    cannot be and is left out.
    """
    view = GraphView(model)
    sparse, whole, sparse_values, values = 0, 0, 0, 0
    for node in view.nodes:
        weight = _summed_last(view, node)
        if weight is None or weight.shape[-1] % _GROUP:
            continue
        fits = is_two_of_four(weight)
        whole, values = whole + 1, values + weight.size
        sparse, sparse_values = sparse + fits, sparse_values + fits * weight.size
    return Sparsity(int(sparse), whole, int(sparse_values), values)


def is_two_of_four(weight: NDArray[Any]) -> bool:
    """Say whether every four neighbours along the last axis hold at most two non-zeros.

    >>> is_two_of_four(np.array([[1, 0, 0, 2]])), is_two_of_four(np.array([[1, 3, 0, 2]]))
    (True, False)
    """
    groups = weight.reshape(-1, _GROUP)
    return bool((np.count_nonzero(groups, axis=1) <= _KEPT).all())


def _summed_last(view: GraphView, node: onnx.NodeProto) -> NDArray[Any] | None:
    """Return the weight of a product with the summed dimension last, or None."""
    if node.op_type not in ("Conv", "MatMul", "Gemm") or len(node.input) < 2:
        return None
    weight = _constant(view, node.input[1])
    if weight is None or weight.ndim < 2:
        return None
    if node.op_type == "Conv":
        return np.moveaxis(weight, 1, -1)
    transposed = node.op_type == "Gemm" and attribute(node, "transB", 0)
    return weight if transposed else np.moveaxis(weight, -2, -1)


def _constant(view: GraphView, name: str) -> NDArray[Any] | None:
    """Return the constant behind `name`, through Q/DQ (whose zero-point is 0) and layout."""
    producer = view.producer.get(name)
    if producer is not None and producer.op_type in QUANTIZERS:
        return _constant(view, producer.input[0])
    if producer is not None and producer.op_type in LAYOUT:
        return _transposed(view, producer)
    return view.array(name)


def _transposed(view: GraphView, node: onnx.NodeProto) -> NDArray[Any] | None:
    """Follow a Transpose; other layouts of weights are not looked through."""
    values = _constant(view, node.input[0]) if node.op_type == "Transpose" else None
    if values is None:
        return None
    order = [list(item.ints) for item in node.attribute if item.name == "perm"]
    return np.transpose(values, order[0] if order else None)
