"""Which precision an ONNX graph asks for, node by node: the only recipe every TensorRT shares.

TensorRT 10 and 11 read it from a strongly typed network; for TensorRT 8 it becomes the precision
and the output type of each layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...common.errors import InputError
from ..quantize.parts import part_of
from ..quantize.view import LAYOUT, QUANTIZERS, GraphView
from .layer_norm import whole

if TYPE_CHECKING:
    import onnx

    from ...runtimes.tensorrt.versions import Generation

FP32, FP16, BF16, INT8 = "fp32", "fp16", "bf16", "int8"
_FLOATS = {1: FP32, 10: FP16, 16: BF16}  # TensorProto.DataType
_THROUGH = LAYOUT | {"Cast"}  # before opset 19 a cast stands between Q/DQ and FP16
_OPERANDS = {"Conv": 2, "MatMul": 2, "Gemm": 2, "Add": 2, "Mul": 2, "Concat": 4}  # else 1
# in float where a user lets TensorRT 8 choose FP16: they overflow or lose digits first
KEEP_FLOAT = frozenset({"LayerNormalization", "Softmax", "ReduceMean", "Pow", "Sqrt", "Exp"})


@dataclass(frozen=True)
class NodeType:
    """What the graph says about one node: its operator, its precision, the type it returns.

    `precision` is "int8" where every operand comes from a DequantizeLinear; `near_int8` says that
    at least one does. `returned` is None where a quantizer reads the result: the two may become
    one kernel that returns INT8.
    """

    operator: str
    precision: str
    returned: str | None
    near_int8: bool = False


@dataclass(frozen=True)
class GraphPrecision:
    """Types of the nodes that compute in float or INT8, by name, and Q/DQ on activations."""

    nodes: dict[str, NodeType]
    quantizers: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Return one word: "int8" with Q/DQ, else "bf16", "fp16" or "fp32"."""
        if self.quantizers:
            return INT8
        found = {node.precision for node in self.nodes.values()}
        return next((kind for kind in (BF16, FP16) if kind in found), FP32)

    def has(self, precision: str) -> bool:
        """Say whether any node computes in `precision`."""
        return any(node.precision == precision for node in self.nodes.values())

    def parts(self) -> dict[str, str]:
        """Return the precision of every part; several are joined with "+"."""
        found: dict[str, set[str]] = {}
        for name, node in self.nodes.items():
            part = part_of(whole(name))
            if part is not None:
                found.setdefault(part, set()).add(node.precision)
        return {part: "+".join(sorted(kinds)) for part, kinds in found.items()}


def graph_precision(model: onnx.ModelProto) -> GraphPrecision:
    """Return what `model` says; types come from ONNX's own inference."""
    import onnx

    typed = onnx.shape_inference.infer_shapes(model)
    types = {
        item.name: _FLOATS.get(item.type.tensor_type.elem_type)
        for item in (*typed.graph.value_info, *typed.graph.output, *typed.graph.input)
    }
    view = GraphView(typed)
    nodes = {}
    for node in view.nodes:
        if node.op_type in QUANTIZERS:
            continue
        returned = types.get(node.output[0]) if node.output else None
        if returned is None or node.op_type in ("Constant", "Cast", "Shape"):
            continue
        requantized = _quantized(view, node.output[0])
        fed = [_dequantized(view, name) for name in node.input[: _OPERANDS.get(node.op_type, 1)]]
        precision = INT8 if fed and all(fed) else returned
        kept = None if requantized else returned
        nodes[node.name] = NodeType(node.op_type, precision, kept, any(fed))
    return GraphPrecision(nodes, activation_quantizers(view))


def activation_quantizers(view: GraphView) -> tuple[str, ...]:
    """Return the names of the Q/DQ nodes that work while the engine runs: not those of weights."""

    def weight(name: str) -> bool:
        producer = view.producer.get(name)
        if producer is not None and producer.op_type in QUANTIZERS:
            return weight(producer.input[0])
        return view.constant(name)

    return tuple(
        node.name for node in view.nodes if node.op_type in QUANTIZERS and not weight(node.input[0])
    )


def refuse_precision(
    found: GraphPrecision, generation: Generation, version: str, *, fp16: bool, name: str
) -> None:
    """Refuse what the installed TensorRT would change silently, or cannot build.

    Raises:
        InputError: FP16 asked of a graph in FP32 where types are the graph's; BF16 on TensorRT 8.
    """
    weak = generation.strong_typing == "never"
    if fp16 and not weak and not found.has(FP16):
        way = (
            "quantize the float graph again with `--precision int8 --float fp16`"
            if found.quantizers
            else f"`segship quantize {name} -o fp16.onnx --precision fp16 --data SPEC` first"
        )
        raise InputError(
            f"Expected a graph with FP16 in it for --fp16, but {name} has none, and TensorRT "
            f"{version} takes types from the graph: {way}, then build that."
        )
    if weak and found.has(BF16):
        raise InputError(
            f"Expected FP32, FP16 or Q/DQ for TensorRT {version}, but {name} holds BF16: quantize "
            "with --precision fp16 instead."
        )


def _quantized(view: GraphView, name: str) -> bool:
    """Say whether a QuantizeLinear reads `name`, through layout and casts alone."""
    return any(
        reader.op_type == "QuantizeLinear"
        or (reader.op_type in _THROUGH and _quantized(view, reader.output[0]))
        for reader, _ in view.readers[name]
    )


def _dequantized(view: GraphView, name: str) -> bool:
    """Say whether `name` comes out of a DequantizeLinear, through layout and casts alone."""
    producer = view.producer.get(name)
    while producer is not None and producer.op_type in _THROUGH:
        producer = view.producer.get(producer.input[0])
    return producer is not None and producer.op_type == "DequantizeLinear"
