"""Write FP16 into a graph: half-precision constants, explicit casts, islands in FP32 where needed.

docs/decisions/0006-fp16.md says why neither ModelOpt nor onnxconverter-common does it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...calibration.ranges import Ranges
from ...common.errors import InputError
from .fp16_types import FLOAT, FLOAT16, SIZES, HalfSlots, float_tensors
from .islands import HEADROOM, Island, find_islands
from .parts import part_of
from .plan import NodeChoice, refuse_quantized
from .view import GraphView
from .writing import Writing

if TYPE_CHECKING:
    import onnx

FP16, FP32 = "fp16", "fp32"
_SUFFIX = {FLOAT16: "fp16", FLOAT: "fp32"}


@dataclass(frozen=True)
class Fp16Result:
    """The converted model, what stayed in FP32 and why, and one choice per node with arithmetic.

    `casts` counts the Cast nodes that were added, those at the input and the outputs included.
    """

    model: onnx.ModelProto
    islands: tuple[Island, ...]
    choices: tuple[NodeChoice, ...]
    casts: int
    notes: tuple[str, ...]


def to_fp16(
    model: onnx.ModelProto,
    ranges: Ranges,
    *,
    keep_io: bool = True,
    islands: Collection[str] = (),
) -> Fp16Result:
    """Return a copy of `model` that computes in FP16 wherever calibration says that it fits.

    Args:
        model: a float32 graph.
        ranges: of all its activations, collected with the method "minmax" (the extremes count).
        keep_io: inputs and outputs stay float32, as the contract says; else they become float16.
        islands: nodes or parts to keep in FP32 whatever their range.

    Raises:
        InputError: the graph is quantized or in FP16 already, an activation has no range, or
            `islands` names nothing of the graph.
    """
    import onnx

    refuse_quantized(model)
    refuse_half(model)
    work = onnx.ModelProto()
    work.CopyFrom(model)
    for index, node in enumerate(work.graph.node):
        node.name = node.name or f"{node.op_type}_unnamed_{index}"
    found = find_islands(work, ranges, islands)
    casts = _Conversion(work, frozenset(found), keep_io).write()
    notes = _notes(model, ranges, found, casts)
    return Fp16Result(work, tuple(found.values()), _choices(model, found), casts, notes)


def refuse_half(model: onnx.ModelProto) -> None:
    """Refuse a graph that holds FP16 or BF16 constants or casts.

    Raises:
        InputError: it does.
    """
    if has_half(model):
        raise InputError(
            "Expected a float32 graph, but it computes in 16 bits already: start from the "
            "checkpoint or its float export."
        )


def has_half(model: onnx.ModelProto) -> bool:
    """Say whether some constant, cast, input or output of the main graph is FP16 or BF16."""
    narrow = {FLOAT16, 16}  # TensorProto.BFLOAT16
    ends = (*model.graph.input, *model.graph.output)
    if any(item.type.tensor_type.elem_type in narrow for item in ends):
        return True
    return any(item.data_type in narrow for item in model.graph.initializer) or any(
        entry.i in narrow
        for node in model.graph.node
        if node.op_type == "Cast"
        for entry in node.attribute
        if entry.name == "to"
    )


class _Conversion:
    """One model on its way to FP16, in place."""

    def __init__(self, model: onnx.ModelProto, islands: Collection[str], keep_io: bool) -> None:
        self.graph, self.islands, self.keep_io = model.graph, islands, keep_io
        self.slots, self.floats = HalfSlots(model), set(float_tensors(model))
        self.kinds = self._kinds()
        self.wide: dict[str, str] = {}  # FP16 tensor → the graph output of its values in FP32
        if keep_io:
            self._rename_outputs()
        self.view, self.writing = GraphView(model), Writing()
        self.casts = 0

    def write(self) -> int:
        """Rewrite the graph and return how many casts it took."""
        for node in self.view.nodes:
            if node.op_type in SIZES:
                continue
            half = self._half(node)
            for position, name in enumerate(node.input):
                if name in self.floats:
                    wanted = FLOAT16 if half and self.slots.takes(node, position) else FLOAT
                    self._read(node, position, name, wanted)
            if half:
                _retype(node)
        for name in self.wide:
            self._cast(name, FLOAT)
        if not self.keep_io:
            for item in (*self.graph.input, *self.graph.output):
                if self.kinds.get(item.name) == FLOAT16:
                    item.type.tensor_type.elem_type = FLOAT16
        del self.graph.value_info[:]
        self.writing.apply(self.graph)
        return self.casts

    def _half(self, node: onnx.NodeProto) -> bool:
        return node.name not in self.islands

    def _kinds(self) -> dict[str, int]:
        """Return the type every float activation will have."""
        kinds = {
            item.name: FLOAT if self.keep_io else FLOAT16
            for item in self.graph.input
            if item.name in self.floats
        }
        for node in self.graph.node:
            for position, name in enumerate(node.output):
                if name in self.floats:
                    half = self._half(node) and self.slots.makes(node, position)
                    kinds[name] = FLOAT16 if half else FLOAT
        return kinds

    def _rename_outputs(self) -> None:
        """Free the names of the graph's outputs for the casts that will make them."""
        for item in self.graph.output:
            if self.kinds.get(item.name) != FLOAT16:
                continue
            new = f"{item.name}_fp16"
            self.wide[new] = item.name
            self.kinds[new] = self.kinds.pop(item.name)
            self.floats.add(new)
            for node in self.graph.node:
                for names in (node.input, node.output):
                    for position, name in enumerate(names):
                        if name == item.name:
                            names[position] = new

    def _read(self, node: onnx.NodeProto, position: int, name: str, wanted: int) -> None:
        constant = self.view.array(name)
        if constant is not None and wanted == FLOAT16:
            tensor = self.view.tensor(name)
            stem = (tensor.name if tensor is not None else "") or name
            new = self.writing.keep(f"{stem}_fp16", constant.astype(np.float16))
        elif constant is not None or self.kinds.get(name, FLOAT) == wanted:
            return
        else:
            new = self._cast(name, wanted)
        self.writing.renamed[(node.name, position)] = new

    def _cast(self, name: str, wanted: int) -> str:
        """Return the tensor with the values of `name` in the type `wanted`, made once."""
        from onnx import helper

        output = self.wide.get(name, "") or f"{name}_{_SUFFIX[wanted]}"
        maker = self.view.producer.get(name)
        behind = self.writing.after.setdefault(maker.name if maker is not None else "", [])
        if all(output not in node.output for node in behind):
            behind.append(
                helper.make_node("Cast", [name], [output], name=f"{output}_Cast", to=wanted)
            )
            self.casts += 1
        return output


def _retype(node: onnx.NodeProto) -> None:
    """Let a cast to FP32 that the graph had make FP16."""
    if node.op_type == "Cast":
        for entry in node.attribute:
            if entry.name == "to" and entry.i == FLOAT:
                entry.i = FLOAT16


def _choices(model: onnx.ModelProto, found: dict[str, Island]) -> tuple[NodeChoice, ...]:
    choices = []
    for node in model.graph.node:
        part, island = part_of(node.name), found.get(node.name)
        if island is not None:
            inputs = (island.tensor,) if island.tensor else ()
            choices.append(NodeChoice(node.name, node.op_type, part, FP32, island.reason, inputs))
        elif part is not None:
            choices.append(
                NodeChoice(node.name, node.op_type, part, FP16, _fits(node), tuple(node.input[:1]))
            )
    return tuple(choices)


def _fits(node: onnx.NodeProto) -> str:
    if node.op_type == "LayerNormalization":
        return "fits; one operator, its statistics are FP32 by definition"
    if node.op_type in ("Conv", "MatMul", "Gemm"):
        return "fits; the target sums in FP32"
    return "fits"


def _notes(
    model: onnx.ModelProto, ranges: Ranges, found: dict[str, Island], casts: int
) -> tuple[str, ...]:
    """Say in lines how far the graph is from the end of FP16 and what the islands cost."""
    peak, name = max(((item.peak, name) for name, item in ranges.tensors.items()), default=(0, ""))
    lines = [
        f"largest activation: max |x| {peak:.3g} ({name}) on {ranges.images} images; FP16 ends at "
        f"65504, islands begin at a {HEADROOM:g}th of it"
    ]
    inside = len(found)
    nodes = sum(part_of(node.name) is not None for node in model.graph.node)
    lines.append(
        f"{inside} nodes stay in FP32, of {nodes} that compute; {casts} casts"
        if inside
        else f"no node stays in FP32; {casts} casts, at the input and the outputs"
    )
    norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
    squared = [n.input[0] for n in norms if ranges.tensors[n.input[0]].peak > 255]
    if squared:
        lines.append(
            f"{len(squared)} LayerNorms read |x| over 255, whose squares pass 65504: they must "
            "stay one operator (opset 17 and up), whose statistics are FP32"
        )
    return tuple(lines)
