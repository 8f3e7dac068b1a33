"""Which nodes cannot compute in FP16, and why: what calibrated ranges say about a graph.

FP16 ends at 65504, its numbers below 6.1e-5 lose digits and those below 6e-8 are zero. Products
(MatMul, Conv) sum in FP32 on tensor cores and only their results must fit; a sum over an axis
may run in FP16, so all of it must. LayerNormalization takes its statistics in FP32 by definition
(stash_type 1) as long as it is one operator; written out, its squares are tensors like others.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...calibration.ranges import Ranges, TensorRange
from ...common.errors import InputError
from ..scaling.fp16 import FP16_MAX, FP16_SMALLEST_NORMAL
from .fp16_types import FLOAT, SIZES, HalfSlots, float_tensors, tensor_shapes
from .parts import part_of
from .view import LAYOUT, GraphView, attribute

if TYPE_CHECKING:
    import onnx

# Images that were not calibrated on reach further; docs/decisions/0006-fp16.md has the ratios.
HEADROOM = 4.0
LIMIT = FP16_MAX / HEADROOM
# Scores from here on have steps of a half and more: a probability would move by a fifth.
SOFTMAX_LIMIT = 1024.0
# A normal number is off by 2^-11 at most; twice that says that the digits are gone.
WEIGHT_ERROR = 2.0**-10
_SUMS = {"ReduceSum", "ReduceMean", "ReduceL1", "GlobalAveragePool", "AveragePool"}
_SQUARED_SUMS = {"ReduceSumSquare", "ReduceL2"}
_GAPS = LAYOUT | {"Relu", "Identity", "Slice", "Split", "Concat", "Resize", "Pad"}


@dataclass(frozen=True)
class Island:
    """A node that stays in FP32: why, and the tensor whose largest |x| is `peak` that says so."""

    node: str
    operator: str
    part: str | None
    reason: str
    tensor: str = ""
    peak: float = 0.0


def find_islands(
    model: onnx.ModelProto,
    ranges: Ranges,
    asked: Collection[str] = (),
    also: Mapping[str, str] | None = None,
) -> dict[str, Island]:
    """Return node name → why it stays in FP32, in forward order.

    Args:
        model: a float32 graph with a name for every node.
        ranges: minmax ranges of its activations; only the exact extremes count.
        asked: further nodes or parts to keep.
        also: further nodes, with the reason.

    Raises:
        InputError: an activation without a range, or a node or part the graph does not have.
    """
    scan = _Scan(model, ranges)
    known = {node.name for node in scan.view.nodes} | {
        part_of(node.name) for node in scan.view.nodes
    }
    for name in asked:
        if name not in known:
            raise InputError(
                f"Expected a part or a node of the graph to keep in FP32, but it has no {name!r}."
            )
    found: dict[str, Island] = {}
    known_reasons = also or {}
    for node in scan.view.nodes:
        wanted = node.name in asked or part_of(node.name) in asked
        island = _island(node, "asked for") if wanted else scan.judge(node)
        if island is None and node.name in known_reasons:
            island = _island(node, known_reasons[node.name])
        if island is not None:
            found[node.name] = island
    _close_gaps(scan.view, found)
    return {node.name: found[node.name] for node in scan.view.nodes if node.name in found}


class _Scan:
    """A graph and its ranges, and the rules that look at both."""

    def __init__(self, model: onnx.ModelProto, ranges: Ranges) -> None:
        self.view, self.slots = GraphView(model), HalfSlots(model)
        self.floats, self.shapes = float_tensors(model), tensor_shapes(model)
        self.ranges = ranges.tensors
        self.captured = _captured(model.graph)
        self.pixels = _from_pixels(model.graph)

    def judge(self, node: onnx.NodeProto) -> Island | None:
        """Return why `node` stays in FP32, or None."""
        reads = [name for name in node.input if name in self.floats]
        makes = [name for name in node.output if name in self.floats]
        if node.op_type in ("Constant", "Identity") and self.view.constant(node.output[0]):
            return None
        if node.op_type in SIZES or not (reads or makes):
            return None
        if makes and self.pixels.isdisjoint(makes):
            return _island(node, "computes sizes, not pixels")
        return (
            self._form(node)
            or self._weights(node, reads)
            or self._sums(node)
            or self._scores(node)
            or self._extremes(node, makes, "makes")
            or self._extremes(node, reads, "reads")
        )

    def _form(self, node: onnx.NodeProto) -> Island | None:
        if any(item.HasField("g") or item.graphs for item in node.attribute):
            return _island(node, "it holds a graph of its own")
        if self.captured.intersection(node.output):
            return _island(node, "a graph inside another node reads what it makes")
        held = [at for at, name in enumerate(node.input) if name in self.floats]
        ends = [at for at, name in enumerate(node.output) if name in self.floats]
        half = any(self.slots.takes(node, at) for at in held) or any(
            self.slots.makes(node, at) for at in ends
        )
        return None if half else _island(node, "the operator has no FP16 form")

    def _weights(self, node: onnx.NodeProto, reads: list[str]) -> Island | None:
        for name in reads:
            values = self.view.array(name)
            if values is None or not values.size or values.dtype != np.float32:
                continue
            exact = values.astype(np.float64)
            peak = float(np.abs(exact).max())
            if not peak <= FP16_MAX:
                return _island(node, f"max |w| {peak:.3g} passes {FP16_MAX:.0f}", name, peak)
            error = values.astype(np.float16).astype(np.float64) - exact
            if np.linalg.norm(error) > WEIGHT_ERROR * np.linalg.norm(exact):
                reason = f"its constants, up to {peak:.3g}, lose digits below 6.1e-5"
                return _island(node, reason, name, peak)
        return None

    def _sums(self, node: onnx.NodeProto) -> Island | None:
        name = node.input[0] if node.input else ""
        if node.op_type == "LayerNormalization" and attribute(node, "stash_type", FLOAT) != FLOAT:
            return _island(node, "its statistics would be taken in FP16", name)
        if node.op_type not in _SUMS | _SQUARED_SUMS:
            return None
        peak, terms = self._range(name).peak, self._terms(node)
        if terms is None:
            return _island(node, "a sum of a length that is not known", name, peak)
        largest = terms * (peak * peak if node.op_type in _SQUARED_SUMS else peak)
        if largest <= LIMIT:
            return None
        return _island(node, f"a sum of {terms} terms can reach {largest:.3g}", name, peak)

    def _terms(self, node: onnx.NodeProto) -> int | None:
        """Return over how many values at most a reduction sums: everything it takes per result."""
        before, after = self._sides(node.input[0]), self._sides(node.output[0])
        if before is None or after is None:
            return None
        if node.op_type == "AveragePool":
            return max(math.prod(before[2:]), 1)  # at most the whole map
        return math.prod(before) // max(math.prod(after), 1)

    def _sides(self, name: str) -> list[int] | None:
        """Return a shape without free dimensions, None for another."""
        sides = [side for side in self.shapes.get(name, (None,)) if side is not None]
        return sides if len(sides) == len(self.shapes.get(name, (None,))) else None

    def _scores(self, node: onnx.NodeProto) -> Island | None:
        """Keep a softmax of large scores, and what makes them, in FP32."""
        for name in (*node.input[:1], *node.output):
            readers = [reader.op_type for reader, _ in self.view.readers[name]]
            scores = node.op_type == "Softmax" if name in node.input else "Softmax" in readers
            if not scores or name not in self.floats:
                continue
            peak = self._range(name).peak
            if peak >= SOFTMAX_LIMIT:
                step = 2.0 ** (np.floor(np.log2(peak)) - 10)
                reason = f"scores of up to {peak:.3g} come in steps of {step:g} in FP16"
                return _island(node, reason, name, peak)
        return None

    def _extremes(self, node: onnx.NodeProto, names: list[str], verb: str) -> Island | None:
        for name in names:
            if name not in self.pixels:
                continue
            peak = self._range(name).peak
            if peak > LIMIT:
                reason = f"{verb} max |x| {peak:.3g}, over 65504 / {HEADROOM:g}"
                return _island(node, reason, name, peak)
            if 0 < peak < FP16_SMALLEST_NORMAL:
                return _island(node, f"{verb} max |x| {peak:.3g}, subnormal in FP16", name, peak)
        return None

    def _range(self, name: str) -> TensorRange:
        found = self.ranges.get(name)
        if found is None:
            raise InputError(
                f"Expected a calibrated range of {name!r}, but got none: calibrate the graph that "
                "is converted."
            )
        return found


def _island(node: onnx.NodeProto, reason: str, tensor: str = "", peak: float = 0.0) -> Island:
    return Island(node.name, node.op_type, part_of(node.name), reason, tensor, peak)


def _close_gaps(view: GraphView, found: dict[str, Island]) -> None:
    """Keep what only lays out or moves values between two islands: no cast pays there."""
    changed = True
    while changed:
        changed = False
        for node in view.nodes:
            if node.name in found or node.op_type not in _GAPS:
                continue
            maker = view.producer.get(node.input[0])
            readers = [reader for name in node.output for reader, _ in view.readers[name]]
            if maker is None or maker.name not in found or not readers:
                continue
            if all(reader.name in found for reader in readers):
                found[node.name] = _island(node, "lies between nodes in FP32: saves two casts")
                changed = True


def _captured(graph: onnx.GraphProto) -> set[str]:
    """Return every name the graphs inside nodes of `graph` read."""
    inner = [
        item
        for node in graph.node
        for entry in node.attribute
        for item in ((entry.g,) if entry.HasField("g") else tuple(entry.graphs))
    ]
    names = {name for item in inner for node in item.node for name in node.input}
    for item in inner:
        names |= _captured(item) | {output.name for output in item.output}
    return names


def _from_pixels(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors whose values depend on the graph's inputs, not only on their sizes."""
    constants = {item.name for item in graph.initializer}
    found = {item.name for item in graph.input} - constants
    for node in graph.node:
        if node.op_type not in SIZES and found.intersection(node.input):
            found.update(node.output)
    return found
