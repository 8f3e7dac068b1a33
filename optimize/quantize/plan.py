"""Which nodes become INT8, in which form, and why the others do not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ...common.errors import InputError
from .parts import part_of
from .view import QUANTIZERS, GraphView, attribute

if TYPE_CHECKING:
    import onnx

INT8, FLOAT = "int8", "float"
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
_PATCHES_PX = (4, 8)  # sides of the convolutions that reduce keys and values
# What only `everything` (or a part asked for by name) quantizes: the inputs, by their position.
_OTHERS = {
    "LayerNormalization": (0,),
    "Softmax": (0,),
    "Resize": (0,),
    "Add": (0, 1),
    "Gelu": (0,),
    "Div": (0,),  # where it opens a GELU written with Erf
    "Mul": (0,),  # the one that closes it
}


@dataclass(frozen=True)
class QuantForm:
    """How INT8 is written for a target; the defaults are TensorRT's.

    `symmetric`: zero-point 0 everywhere; else activations are asymmetric uint8. `unsigned`:
    activations that are never negative become uint8 with zero-point 0. `stored` says how weights
    lie in the file: "int8" behind a DequantizeLinear, or "float32" behind a Q/DQ pair.
    `outputs`: the outputs of convolutions are quantized too and their biases are int32.
    `attention`, `linear`, `depthwise`: whether QK·PV, matrix products with a constant and
    depthwise convolutions are quantized. `narrow_patches`: whether convolutions by 4 or 8 pixels
    at once over channels that are no multiple of 64 may be (OpenVINO computes them wrongly).
    `everything`: inputs of LayerNorm, softmax, sums and Resize as well. `residual`: where a sum
    lies between a quantized product and a quantizer, its other input is quantized too.
    `half_scales`: every scale is an FP16 number where one is near, and biases are not quantized.
    """

    symmetric: bool = True
    unsigned: bool = False
    per_channel: bool = True
    stored: str = "int8"
    outputs: bool = False
    attention: bool = False
    linear: bool = True
    depthwise: bool = True
    narrow_patches: bool = True
    residual: bool = True
    everything: bool = False
    half_scales: bool = False

    def __post_init__(self) -> None:
        """Refuse a form nobody writes."""
        if self.stored not in ("int8", "float32"):
            raise InputError(f"Expected weights stored as int8 or float32, but got {self.stored}.")

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> QuantForm:
        """Build a form from a profile's values.

        Raises:
            InputError: an unknown field, or one of another type.
        """
        known = {item.name: type(item.default) for item in fields(QuantForm)}
        for name, value in values.items():
            if name not in known or type(value) is not known[name]:
                raise InputError(
                    f"Expected a form of {', '.join(known)}, but got {name}: {value!r}."
                )
        return QuantForm(**values)


@dataclass(frozen=True)
class NodeChoice:
    """What a node computes in and why; `inputs` are the activations it reads in INT8."""

    node: str
    operator: str
    part: str | None
    precision: str
    reason: str
    inputs: tuple[str, ...] = ()
    weight: str = ""


@dataclass(frozen=True)
class QuantPlan:
    """The form and one choice per node that does arithmetic, in forward order."""

    form: QuantForm
    choices: tuple[NodeChoice, ...]
    notes: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes that become INT8."""
        return tuple(item.node for item in self.choices if item.precision == INT8)

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts with at least one INT8 node, in forward order."""
        found = (item.part for item in self.choices if item.precision == INT8 and item.part)
        return tuple(dict.fromkeys(found))


def make_plan(
    model: onnx.ModelProto,
    form: QuantForm | None = None,
    *,
    parts: Collection[str] | None = None,
    exclude: Mapping[str, str] | None = None,
) -> QuantPlan:
    """Return which nodes of `model` become INT8.

    Args:
        model: a float graph with a name for every node.
        form: of the target; TensorRT's where None.
        parts: only these SegFormer parts, and those whole: `form` excludes nothing of them that
            can be quantized. None: what the form says.
        exclude: part or node name → the reason why it stays in float.

    Raises:
        InputError: the graph is quantized already, or names no node where one is excluded.
    """
    refuse_quantized(model)
    chosen, view = form or QuantForm(), GraphView(model)
    excluded = dict(exclude or {})
    choices = tuple(
        _choice(node, chosen, view, parts, excluded)
        for node in view.nodes
        if node.op_type in _PRODUCTS or node.op_type in _OTHERS or part_of(node.name)
    )
    _refuse_unknown(model, choices, {*excluded, *(parts or ())})
    notes: tuple[str, ...] = ()
    if not any(item.part for item in choices):
        notes = ("node names are not segship's: nodes were chosen by operator, not by part",)
    return QuantPlan(chosen, choices, notes)


def refuse_quantized(model: onnx.ModelProto) -> None:
    """Refuse a graph with Q/DQ nodes.

    Raises:
        InputError: it has some.
    """
    found = [node.name for node in model.graph.node if node.op_type in QUANTIZERS]
    found += [node.name for node in model.graph.node if node.op_type.startswith("QLinear")]
    if found:
        raise InputError(
            f"Expected a float graph to quantize, but it is quantized already ({len(found)} Q/DQ "
            f"nodes, {found[0]!r} first): start from the checkpoint or its float export."
        )


def _refuse_unknown(
    model: onnx.ModelProto, choices: tuple[NodeChoice, ...], asked: Collection[str]
) -> None:
    known = {node.name for node in model.graph.node} | {item.part for item in choices}
    for name in asked:
        if name not in known:
            raise InputError(
                f"Expected a part or a node of the graph, but it has no {name!r}: "
                "`segship quantize --explain` lists them."
            )


def _choice(
    node: onnx.NodeProto,
    form: QuantForm,
    view: GraphView,
    parts: Collection[str] | None,
    excluded: Mapping[str, str],
) -> NodeChoice:
    part = part_of(node.name)

    def choice(precision: str, reason: str, *operands: Any) -> NodeChoice:
        return NodeChoice(node.name, node.op_type, part, precision, reason, *operands)

    for name in (node.name, part):
        if name is not None and name in excluded:
            return choice(FLOAT, excluded[name])
    if parts is not None and part not in parts:
        return choice(FLOAT, "not asked for")
    inputs, weight = _operands(node, view)
    if not inputs:
        return choice(FLOAT, "a bias or elementwise: stays in float")
    kind, wanted = _kind(node, view, weight)
    # a part is quantized whole, but the softmax between two products is none of them
    asked = parts is not None and node.op_type != "Softmax" and wanted != "narrow_patches"
    anyway = asked or (form.everything and wanted != "narrow_patches")
    if wanted and not (anyway or getattr(form, wanted)):
        return choice(FLOAT, _FLOAT_REASONS[wanted])
    return choice(INT8, kind, inputs, weight)


_FLOAT_REASONS = {
    "attention": "the target's fused attention kernel wants float",
    "linear": "not faster in INT8 on this target",
    "depthwise": "depthwise: little arithmetic, not faster in INT8 on this target",
    "narrow_patches": "OpenVINO computes it wrongly in INT8 on a CPU with AMX",
    "everything": "a norm, softmax, activation or sum: kept in float",
}


def _kind(node: onnx.NodeProto, view: GraphView, weight: str) -> tuple[str, str]:
    """Return what the node is in words, and the field of the form that decides about it."""
    if node.op_type in _OTHERS:
        return "everything in 8 bits", "everything"
    if not weight:
        return "product of two activations", "attention"
    if "Conv" not in node.op_type:
        return "product with a constant matrix", "linear"
    group, tensor = attribute(node, "group", 1), view.tensor(weight)
    if group > 1 and tensor is not None and tensor.dims[1] == 1:
        return "depthwise convolution", "depthwise"
    if tensor is not None and tensor.dims[-1] in _PATCHES_PX and tensor.dims[1] % 64:
        return "convolution", "narrow_patches"
    return "convolution", ""


def _operands(node: onnx.NodeProto, view: GraphView) -> tuple[tuple[str, ...], str]:
    """Return the activations a node could read in INT8, and its constant weight if it has one."""
    if node.op_type in _OTHERS:
        if node.op_type in ("Div", "Mul") and not _gelu(node, view):
            return (), ""
        names = tuple(node.input[index] for index in _OTHERS[node.op_type])
        # a sum with a constant is a bias and belongs to its product
        return ((), "") if any(view.constant(name) for name in names) else (names, "")
    if node.op_type not in _PRODUCTS or view.constant(node.input[0]):
        return (), ""
    if view.tensor(node.input[1]) is not None:
        return (node.input[0],), node.input[1]
    return (node.input[0], node.input[1]), ""


def _gelu(node: onnx.NodeProto, view: GraphView) -> bool:
    """Say whether a Div or Mul reads the argument of x/2·(1 + erf(x/√2))."""
    if node.op_type == "Div":
        readers = view.readers[node.output[0]]
        return bool(readers) and all(reader.op_type == "Erf" for reader, _ in readers)
    twins = [reader for reader, _ in view.readers[node.input[0]] if reader.op_type == "Div"]
    return any(_gelu(twin, view) for twin in twins)
