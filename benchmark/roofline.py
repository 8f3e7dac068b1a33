"""How fast could it be? Per part: arithmetic at the device's peak, or bytes at its bandwidth.

A part's bytes are its weights, what it reads from other parts and what it writes for them, each
tensor once, in the width it crosses the border with: a part counts as fused. So do the attention's
products with their softmax, GELU with the depthwise convolution and a sum with the projection
before it. Layout operators, casts and Q/DQ move nothing of their own. A runtime that fuses more
can be faster than this; Williams et al., Roofline, CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import onnx

from ..common.errors import InputError
from ..optimize.quantize.parts import part_of
from .device_peaks import DevicePeaks
from .onnx_cost import PRODUCTS, Shape, known_shapes, node_macs, with_shapes

_FREE = frozenset(
    "Cast DequantizeLinear Flatten Gather Identity QuantizeLinear Reshape Slice Split Squeeze "
    "Transpose Unsqueeze".split()
)
_WIDTH = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 16: 2}  # TensorProto type → bytes
_NAMES = {4: "fp32", 2: "fp16", 1: "int8"}
_FUSED = {"qk": "attention", "pv": "attention", "gelu": "dwconv"}
_RESIDUAL = {"Add": "attn proj", "Add_1": "fc2"}  # a block's two sums, by their node's name


@dataclass
class PartCost:
    """Work of one part for one input shape: MACs by precision, bytes by kind."""

    part: str
    macs: dict[str, int] = field(default_factory=dict)
    read_bytes: int = 0
    weight_bytes: int = 0
    write_bytes: int = 0

    @property
    def moved_bytes(self) -> int:
        """All bytes that cross the part's border."""
        return self.read_bytes + self.weight_bytes + self.write_bytes


@dataclass(frozen=True)
class PartFloor:
    """The least time of a part on a device, in µs, by arithmetic and by memory.

    `compute_us` is None where the device's peak in that precision is not known.
    """

    part: str
    gmacs: float
    moved_mib: float
    compute_us: float | None
    memory_us: float

    @property
    def floor_us(self) -> float:
        """The larger of the two."""
        return max(self.compute_us or 0.0, self.memory_us)


def part_costs(
    model: onnx.ModelProto, input_shape: Shape, *, float_width: int | None = None
) -> tuple[PartCost, ...]:
    """Return the cost of every part for an input (batch,3,height,width), in forward order.

    Args:
        model: a graph with our node names; it is not changed.
        input_shape: of its image input.
        float_width: bytes of a float32 value where the builder narrows it (2 for a weakly typed
            FP16 engine of a float32 graph); None takes the graph's own types.

    Raises:
        InputError: the shapes cannot be inferred, or no node has a name of ours.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = with_shapes(copy, input_shape)
    if graph is None or not any(fused_part(node.name) for node in graph.node):
        raise InputError(
            f"Expected a SegFormer exported by segship that takes {input_shape}, but got another "
            "graph: export the checkpoint with segship."
        )
    return tuple(_Costs(graph, float_width).of_parts().values())


def fused_part(node_name: str) -> str | None:
    """Return the part a node is fused into, None where it belongs to none.

    >>> fused_part("/encoder/stages.0/blocks.1/attn/MatMul_1")
    'stage 1 attention'
    >>> fused_part("/encoder/stages.0/blocks.1/Add_1")
    'stage 1 fc2'
    """
    part = part_of(node_name)
    stage, _, kind = (part or "").rpartition(" ")
    kind = _RESIDUAL[node_name.rpartition("/")[2]] if kind == "residual" else _FUSED.get(kind, "")
    return f"{stage} {kind}" if kind else part


def floors(costs: Sequence[PartCost], peaks: DevicePeaks) -> tuple[PartFloor, ...]:
    """Return the floor of every part on a device."""
    return tuple(_floor(cost, peaks) for cost in costs)


def _floor(cost: PartCost, peaks: DevicePeaks) -> PartFloor:
    pairs = [(macs, peaks.flops(name)) for name, macs in cost.macs.items()]
    known = [2 * macs / peak for macs, peak in pairs if peak]  # a MAC is two operations
    return PartFloor(
        cost.part,
        sum(cost.macs.values()) / 1e9,
        cost.moved_bytes / (1 << 20),
        1e6 * sum(known) if len(known) == len(pairs) else None,
        1e6 * cost.moved_bytes / peaks.bytes_per_s,
    )


class _Costs:
    """One graph with its shapes and types, read part by part."""

    def __init__(self, graph: onnx.GraphProto, float_width: int | None) -> None:
        self.graph, self.float_width = graph, float_width
        self.shapes: Mapping[str, Shape] = known_shapes(graph)
        self.types = {item.name: item.data_type for item in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            self.types[value.name] = value.type.tensor_type.elem_type
        self.weights = {item.name for item in graph.initializer}
        self.maker = {name: node for node in graph.node for name in node.output}
        self.parts = {node.name: fused_part(node.name) for node in graph.node}

    def of_parts(self) -> dict[str, PartCost]:
        """Return the cost of every part."""
        costs: dict[str, PartCost] = {}
        reads: dict[tuple[str, str], tuple[int, int]] = {}  # (part, tensor) → width, elements
        for node in self.graph.node:
            part = self.parts[node.name]
            if part is None:
                continue
            cost = costs.setdefault(part, PartCost(part))
            self._count(node, cost)
            for name in filter(None, node.input):
                source, width = self.source(name)
                if source is not None and self._part_of_tensor(source) != part:
                    before = reads.get((part, source), (0, 0))
                    reads[part, source] = max(before, (width, self._elements(name)))
        self._move(costs, reads)
        return costs

    def source(self, name: str) -> tuple[str | None, int]:
        """Return the tensor behind the layout operators above `name` and its narrowest width.

        None for a tensor that no part and no input makes: shapes, scales.
        """
        width = self._width(name)
        while (node := self.maker.get(name)) is not None and node.op_type in _FREE:
            name = node.input[0]
            width = min(width, self._width(name))
        made = node is not None and self.parts[node.name] is not None
        known = made or (node is None and (name in self.weights or name in self._inputs()))
        return (name if known else None), width

    def _inputs(self) -> set[str]:
        return {item.name for item in self.graph.input}

    def _width(self, name: str) -> int:
        kind = self.types.get(name, 1)
        if kind == 1 and self.float_width:
            return self.float_width
        return _WIDTH.get(kind, 4)

    def _part_of_tensor(self, name: str) -> str | None:
        node = self.maker.get(name)
        return None if node is None else self.parts[node.name]

    def _count(self, node: onnx.NodeProto, cost: PartCost) -> None:
        if node.op_type not in PRODUCTS:
            return
        macs = node_macs(node, self.shapes)
        widest = max(self.source(name)[1] for name in node.input[:2])
        name = _NAMES.get(widest, "fp32")
        cost.macs[name] = cost.macs.get(name, 0) + (macs or 0)

    def _move(
        self, costs: Mapping[str, PartCost], reads: Mapping[tuple[str, str], tuple[int, int]]
    ) -> None:
        """Count every read where it is read, and what is written once, at its widest reader."""
        widest: dict[str, int] = {}
        for (part, name), (width, elements) in reads.items():
            if name in self.weights:
                costs[part].weight_bytes += width * elements
            else:
                costs[part].read_bytes += width * elements
                widest[name] = max(widest.get(name, 0), width)
        for item in self.graph.output:
            source, width = self.source(item.name)
            if source is not None:
                widest[source] = max(widest.get(source, 0), width)
        for name, width in widest.items():
            maker = self._part_of_tensor(name)
            if maker is not None:
                costs[maker].write_bytes += width * self._elements(name)

    def _elements(self, name: str) -> int:
        return prod(self.shapes.get(name, ()))
