"""Write FP16 into a graph: half-precision constants, explicit casts, islands in FP32 where needed.

docs/decisions/0006-fp16.md says why neither ModelOpt nor onnxconverter-common does it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...calibration.ranges import Ranges
from ...common.errors import InputError
from .fp16_casts import Conversion
from .fp16_types import FLOAT16
from .islands import HEADROOM, Island, find_islands
from .parts import part_of
from .plan import NodeChoice, refuse_quantized

if TYPE_CHECKING:
    import onnx

FP16, FP32 = "fp16", "fp32"


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
    casts = Conversion(work, frozenset(found), keep_io).write()
    notes = fp16_notes(model, ranges, found, casts)
    return Fp16Result(work, tuple(found.values()), node_choices(model, found), casts, notes)


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


def node_choices(model: onnx.ModelProto, found: dict[str, Island]) -> tuple[NodeChoice, ...]:
    """Return what each node of a part computes in, and each node of `found`, with the reason."""
    choices = []
    for node in model.graph.node:
        part, island = part_of(node.name), found.get(node.name)
        if island is not None:
            inputs = (island.tensor,) if island.tensor else ()
            choices.append(NodeChoice(node.name, node.op_type, part, FP32, island.reason, inputs))
        elif part is not None:
            choices.append(
                NodeChoice(node.name, node.op_type, part, FP16, _fits(node), tuple(node.input))
            )
    return tuple(choices)


def _fits(node: onnx.NodeProto) -> str:
    if node.op_type == "LayerNormalization":
        return "fits; one operator, its statistics are FP32 by definition"
    if node.op_type in ("Conv", "MatMul", "Gemm"):
        return "fits; the target sums in FP32"
    return "fits"


def fp16_notes(
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
        else f"no node stays in FP32; {casts} {'cast' if casts == 1 else 'casts'}"
    )
    norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
    squared = [n.input[0] for n in norms if ranges.tensors[n.input[0]].peak > 255]
    if squared:
        lines.append(
            f"{len(squared)} LayerNorms read |x| over 255, whose squares pass 65504: they must "
            "stay one operator (opset 17 and up), whose statistics are FP32"
        )
    return tuple(lines)
