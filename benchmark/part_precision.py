"""Which precision every part of an ONNX file computes in, as its graph says."""

from __future__ import annotations

from pathlib import Path

from ..common.errors import InputError
from ..common.files import existing_path
from ..optimize.quantize.parts import part_of
from ..optimize.tensorrt.layer_norm import whole
from ..optimize.tensorrt.precision import graph_precision
from ..runtimes.onnx_file import read_onnx_file

_PRODUCTS = frozenset({"Conv", "MatMul", "Gemm"})


def part_precisions(path: str | Path) -> dict[str, str]:
    """Return part → "int8", "fp16", "bf16", "fp32" or several joined with "+", in forward order.

    A part with convolutions or matrix products is judged by them alone: what is added to their
    result does not count. INT8 is a product whose operands all come from a DequantizeLinear.

    Raises:
        InputError: the file is no ONNX, or its nodes have no names of segship.
    """
    import onnx

    source = existing_path(path, "an ONNX file")
    read_onnx_file(source)
    nodes = graph_precision(onnx.load(str(source))).nodes
    products: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    for name, node in nodes.items():
        part = part_of(whole(name))
        if part is not None:
            found = products if node.operator in _PRODUCTS else others
            found.setdefault(part, []).append(node.precision)
            others.setdefault(part, [])
    if not others:
        raise InputError(
            f"Expected an ONNX file with the node names of segship, but {source} names no part of "
            "a SegFormer: export the checkpoint with segship."
        )
    return {
        part: "+".join(sorted(set(products.get(part) or found))) for part, found in others.items()
    }
