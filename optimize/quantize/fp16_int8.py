"""FP16 around INT8: a graph with Q/DQ in float32 whose float part becomes FP16.

From opset 19 on QuantizeLinear reads and DequantizeLinear makes FP16. A quantizer takes the type
of the tensor it quantizes and a dequantizer makes the type its readers compute in, both with the
same number as scale, so that no cast stands between a dequantizer and its convolution or product,
not even where one side is FP32. Before, both are float32 by ONNX's schema, between casts.
docs/decisions/0011-fp16-around-int8.md
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from ...calibration.ranges import Ranges
from ...common.errors import InputError
from .edges import Edge, quantized_tensors
from .fp16 import FP16, Fp16Result, fp16_notes, node_choices, refuse_half
from .fp16_casts import Conversion
from .fp16_types import HalfSlots
from .half_scales import SMALLEST, is_half
from .islands import Island, find_islands
from .plan import INT8, NodeChoice, QuantPlan
from .qdq import activation_scale
from .qdq_weights import weight_step
from .view import LAYOUT, QUANTIZERS, GraphView
from .writing import Writing

if TYPE_CHECKING:
    import onnx


def fp16_around(
    quantized: onnx.ModelProto,
    model: onnx.ModelProto,
    ranges: Ranges,
    plan: QuantPlan,
    *,
    keep_io: bool = True,
    islands: Collection[str] = (),
) -> Fp16Result:
    """Return `quantized` with FP16 wherever calibration says that it fits.

    Args:
        quantized: what `insert_qdq(model, ranges, plan)` gave.
        model: the float graph before it, with a name for every node; constants and scales are
            judged as it has them, so it is the one with rounded weights and corrected biases.
        ranges: of all its activations, by any method: of what is not quantized, and of what an
            INT8 product makes, the exact extremes count.
        plan: its form has `half_scales`.
        keep_io: inputs and outputs stay float32; else they become float16.
        islands: nodes or parts whose float side stays FP32 whatever their range.

    Raises:
        InputError: a form without `half_scales`, a graph in FP16 already, an activation without a
            range, or `islands` names nothing of the graph.
    """
    import onnx

    if not plan.form.half_scales:
        raise InputError("Expected scales FP16 can hold, but the plan's form has half_scales off.")
    refuse_half(quantized)
    found = find_islands(model, ranges, islands, _beyond_half(model, ranges, plan))
    work = onnx.ModelProto()
    work.CopyFrom(quantized)
    _share_by_type(work, found)
    wide = _single_quantizers(work, found, keep_io)
    casts = Conversion(work, wide | found.keys(), keep_io).write()
    notes = fp16_notes(model, ranges, found, casts)
    return Fp16Result(work, tuple(found.values()), _choices(model, plan, found), casts, notes)


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that `model` imports."""
    return max(int(item.version) for item in model.opset_import if item.domain in ("", "ai.onnx"))


def _beyond_half(model: onnx.ModelProto, ranges: Ranges, plan: QuantPlan) -> dict[str, str]:
    """Return the INT8 nodes with a scale FP16 does not hold, and what lies before them."""
    view, found = GraphView(model), dict[str, str]()
    for name, edges in quantized_tensors(model, plan).items():
        step = activation_scale(name, ranges, plan).step
        if not is_half(step):
            reason = f"FP16 does not hold the scale {float(step):.3g} of {name}"
            found.update(dict.fromkeys(_readers(view, edges), reason))
    for choice in plan.choices:
        if choice.precision == INT8 and choice.weight:
            steps = weight_step(view, plan.form, view.named[choice.node], choice.weight)
            if not is_half(steps):
                peak = float(steps.min() if steps.min() < SMALLEST else steps.max())
                found[choice.node] = f"FP16 does not hold the scale {peak:.3g} of its weight"
    return found


def _readers(view: GraphView, edges: tuple[Edge, ...]) -> list[str]:
    """Return the nodes of `edges`, and those behind them where they only lay values out."""
    names, waiting = list[str](), [name for name, _ in edges]
    while waiting:
        name = waiting.pop()
        names.append(name)
        node = view.named[name]
        if node.op_type in LAYOUT:
            waiting += [reader.name for reader, _ in view.readers[node.output[0]]]
    return names


def _share_by_type(model: onnx.ModelProto, islands: Collection[str]) -> None:
    """Give readers in FP32 a dequantizer of their own where others of its readers take FP16."""
    import onnx

    view, slots, writing = GraphView(model), HalfSlots(model), Writing()
    for node in view.nodes:
        if node.op_type != "DequantizeLinear" or not slots.makes(node, 0):
            continue
        readers = view.readers[node.output[0]]
        single = [(reader.name, at) for reader, at in readers if reader.name in islands]
        if 0 < len(single) < len(readers):
            twin = onnx.NodeProto()
            twin.CopyFrom(node)
            twin.name, twin.output[0] = f"{node.name}_fp32", f"{node.output[0]}_fp32"
            writing.after[node.name] = [twin]
            writing.renamed.update(dict.fromkeys(single, twin.output[0]))
    writing.apply(model.graph)


def _single_quantizers(model: onnx.ModelProto, islands: Collection[str], keep_io: bool) -> set[str]:
    """Return the names of the Q/DQ nodes that work on float32.

    A quantizer does where its tensor is FP32: a constant, an input, what an island makes. A
    dequantizer does where its readers are islands.
    """
    view, slots = GraphView(model), HalfSlots(model)
    inputs = {item.name for item in model.graph.input}
    found: set[str] = set()
    for node in view.nodes:
        if node.op_type not in QUANTIZERS:
            continue
        step = view.array(node.input[1])
        exact = step is None or is_half(step)
        if node.op_type == "DequantizeLinear":
            readers = [reader.name for reader, _ in view.readers[node.output[0]]]
            single = all(name in islands for name in readers)
        else:
            maker = view.producer.get(node.input[0])
            if maker is None:
                single = keep_io or node.input[0] not in inputs
            else:
                single = maker.name in islands or maker.name in found
                single |= not slots.makes(maker, list(maker.output).index(node.input[0]))
        if single or not exact:
            found.add(node.name)
    return found


def _choices(
    model: onnx.ModelProto, plan: QuantPlan, found: dict[str, Island]
) -> tuple[NodeChoice, ...]:
    """Return one choice per node: INT8 of the plan, FP16 or FP32 of the others."""
    planned = {item.node: item for item in plan.choices}
    floats = {item.node: item for item in node_choices(model, found)}
    choices = []
    for node in model.graph.node:
        first, second = planned.get(node.name), floats.get(node.name)
        if first is None or first.precision == INT8:
            island = found.get(node.name)
            if first is not None and island is not None:
                first = replace(first, reason=f"{first.reason}; FP32 around it: {island.reason}")
            choices += [item for item in (first or second,) if item is not None]
        elif second is not None:
            choices.append(replace(second, reason=f"{first.reason}; {second.reason}"))
        else:
            choices.append(replace(first, precision=FP16))
    return tuple(choices)
