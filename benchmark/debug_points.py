"""Where two graphs of one network can be compared, and what computes the values there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..optimize.quantize.parts import part_of
from ..optimize.quantize.view import GraphView

if TYPE_CHECKING:
    import onnx

    from ..runtimes.artifact import Lineage

_PRODUCTS = ("Conv", "MatMul", "Gemm")
# Values that exact rewrites and moved scales leave as they are, by the node that makes them:
# (node below its stage or head, canonical module). Norms, q, k and v are not among them.
_SHARED = (
    (r"/encoder/(stages\.\d+/patch_embed/proj)/Conv", r"encoder/\1"),
    (r"/encoder/(stages\.\d+/blocks\.\d+/attn/sr)/Conv", r"encoder/\1"),
    (r"/encoder/(stages\.\d+/blocks\.\d+/attn/proj)/Add", r"encoder/\1"),
    (r"/encoder/(stages\.\d+/blocks\.\d+)/Add", r"encoder/\1/attn+x"),
    (r"/encoder/(stages\.\d+/blocks\.\d+/ffn/dwconv)/Conv", r"encoder/\1"),
    (r"/encoder/(stages\.\d+/blocks\.\d+/ffn/fc2)/(?:Conv|Add)", r"encoder/\1"),
    (r"/encoder/(stages\.\d+/blocks\.\d+)/Add_1", r"encoder/\1"),
    (r"/([^/]+/classifier)/Conv", r"heads/\1"),
)
# passes after which a node of the same name holds other values
_MOVING = frozenset(
    {"fold-layer-norm", "fold-head", "fuse-attention", "mix-ffn-layout"}
    | {"smooth-scaling", "equalize-weights", "fit-fp16"}
)


@dataclass(frozen=True)
class Point:
    """A value both graphs compute: `a` and `b` are its tensors, `key` the name shown for it.

    `before` are the points it is computed from, `from_input` says that the pixels are as well, and
    `parts` the SegFormer parts that do it, its own first.
    """

    key: str
    a: str
    b: str
    parts: tuple[str, ...]
    before: tuple[str, ...]
    from_input: bool

    @property
    def part(self) -> str:
        """The part the value belongs to."""
        return self.parts[0]


def same_nodes(a: onnx.ModelProto, b: onnx.ModelProto, lineages: tuple[Lineage, Lineage]) -> bool:
    """Say whether equally named nodes of the two graphs compute the same value.

    So it is for a graph and what was quantized from it, but not where one was rewritten, or had
    scales moved, and the other was not.
    """
    if _products(a) != _products(b):
        return False
    moved = [{note.name for note in lineage.passes if note.changed} for lineage in lineages]
    if not all(moved):  # a file of another tool does not say what was done to it
        return True
    return moved[0] & _MOVING == moved[1] & _MOVING


def match_points(a: onnx.ModelProto, b: onnx.ModelProto, *, by_node: bool) -> tuple[Point, ...]:
    """Return the values both graphs have, in the forward order of `b`.

    Args:
        a: the reference.
        b: what is compared with it.
        by_node: compare every node of a SegFormer part; else only values at the seams between
            parts that exact rewrites keep.

    Raises:
        InputError: they share none.
    """
    first, second = _values(a, by_node=by_node), _values(b, by_node=by_node)
    shared = [
        key for key in second if key in first and (not by_node or first[key][1:] == second[key][1:])
    ]
    if not shared:
        raise InputError(
            "Expected two files of one SegFormer, but no value of theirs can be matched by name: "
            "compare exports of segship, or a checkpoint with one."
        )
    view = GraphView(b)
    keys = {second[key][0]: key for key in shared}
    inputs = {item.name for item in b.graph.input}
    return tuple(_point(key, first[key][0], second[key][0], view, keys, inputs) for key in shared)


def needed(
    view: GraphView, outputs: Iterable[str], stops: Collection[str]
) -> tuple[list[onnx.NodeProto], set[str]]:
    """Return the nodes that compute `outputs` from tensors in `stops`, and those stops they read.

    A stop among the outputs is computed all the same. Nodes come in forward order.
    """
    waiting, chosen, met = [view.producer.get(name) for name in outputs], set(), set()
    while waiting:
        node = waiting.pop()
        if node is None or node.name in chosen:
            continue
        chosen.add(node.name)
        for name in node.input:
            if name in stops:
                met.add(name)
            else:
                waiting.append(view.producer.get(name))
    return [node for node in view.nodes if node.name in chosen], met


def _point(
    key: str, a: str, b: str, view: GraphView, keys: dict[str, str], inputs: set[str]
) -> Point:
    nodes, met = needed(view, [b], {*keys, *inputs})
    parts = [part_of(view.producer[b].name), *(part_of(node.name) for node in reversed(nodes))]
    named = tuple(dict.fromkeys(part for part in parts if part))
    before = tuple(keys[name] for name in met if name in keys)
    return Point(key, a, b, named or (key,), before, bool(met & inputs))


def _products(model: onnx.ModelProto) -> set[str]:
    return {n.name for n in model.graph.node if n.op_type in _PRODUCTS and part_of(n.name)}


def _values(model: onnx.ModelProto, *, by_node: bool) -> dict[str, tuple[str, str]]:
    """Return key → tensor and operator."""
    if by_node:
        named = [(node.name if part_of(node.name) else None, node) for node in model.graph.node]
    else:
        named = [(_shared(node.name), node) for node in model.graph.node]
    return {key: (node.output[0], node.op_type) for key, node in named if key}


def _shared(name: str) -> str | None:
    for pattern, key in _SHARED:
        if match := re.fullmatch(pattern, name):
            return match.expand(key)
    return None
