"""Did every part of SegFormer get the precision the graph asked for? Counted over layer rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .layers import LayerRow
from .precision import INT8, GraphPrecision

AS_ASKED, OTHER, INSIDE, UNTOLD, GONE = "as asked", "other", "inside", "not told", "no layer"
STATES = {
    AS_ASKED: "the layer reads what the graph asked for",
    OTHER: "a layer of its own reads another type",
    INSIDE: "in one kernel with other parts, whose edges have another type",
    UNTOLD: "the engine does not say",
    GONE: "no layer names it: folded into constants or a foreign name",
}


@dataclass(frozen=True)
class PartRow:
    """One part: precisions the graph asked for and layers got ("+" joins several), and how many.

    `fused` says that a layer computes other parts as well; `state` is a key of STATES.
    """

    part: str
    asked: str
    got: str
    layers: int
    fused: bool
    state: str


@dataclass(frozen=True)
class BuildSummary:
    """All parts in forward order, Q/DQ left as layers of their own, and the reformats."""

    parts: tuple[PartRow, ...]
    unfused: tuple[str, ...]
    reformats: int
    layers: int

    @property
    def as_asked(self) -> int:
        """Return how many parts got what the graph asked for."""
        return sum(row.state == AS_ASKED for row in self.parts)


def summarise(rows: Sequence[LayerRow], found: GraphPrecision) -> BuildSummary:
    """Return what became of every part, from the engine's layers and what the graph asked for."""
    quantizers = set(found.quantizers)
    parts = tuple(_part(part, asked, rows, found) for part, asked in found.parts().items())
    unfused = tuple(row.name for row in rows if row.nodes and set(row.nodes) <= quantizers)
    return BuildSummary(parts, unfused, sum(row.reformat for row in rows), len(rows))


def _part(part: str, asked: str, rows: Sequence[LayerRow], found: GraphPrecision) -> PartRow:
    mine = [row for row in rows if part in row.parts]
    states = {_state(row, found) for row in mine}
    state = next((one for one in (OTHER, INSIDE, AS_ASKED, UNTOLD) if one in states), GONE)
    kinds = {row.precision for row in mine if row.precision}
    fused = any(len(row.parts) > 1 for row in mine)
    return PartRow(part, asked, "+".join(sorted(kinds)), len(mine), fused, state)


def _state(row: LayerRow, found: GraphPrecision) -> str:
    """Compare what a layer reads with what the graph asks of its nodes.

    A product in INT8 with its bias in float is one layer, and must read INT8.
    """
    asked = {found.nodes[name].precision for name in row.nodes if name in found.nodes}
    if not asked or not row.precision:
        return UNTOLD
    if len(row.parts) > 1:
        return AS_ASKED if row.precision in asked else INSIDE
    wanted = {INT8} if INT8 in asked else asked
    return AS_ASKED if row.precision in wanted else OTHER
