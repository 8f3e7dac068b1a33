"""Did every part of SegFormer get the precision the graph asked for? Counted over layer rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .layers import LayerRow
from .precision import GraphPrecision

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
    parts = tuple(_part(part, asked, rows) for part, asked in found.parts().items())
    unfused = tuple(row.name for row in rows if row.nodes and set(row.nodes) <= quantizers)
    return BuildSummary(parts, unfused, sum(row.reformat for row in rows), len(rows))


def _part(part: str, asked: str, rows: Sequence[LayerRow]) -> PartRow:
    mine = [row for row in rows if part in row.parts]
    own = [row for row in mine if row.parts == (part,)]
    kinds = {row.precision for row in mine if row.precision}
    others = {row.precision for row in own if row.precision} - set(asked.split("+"))
    if not mine:
        state = GONE
    elif not kinds:
        state = UNTOLD
    elif others:
        state = OTHER
    else:
        state = AS_ASKED if kinds <= set(asked.split("+")) else INSIDE
    return PartRow(part, asked, "+".join(sorted(kinds)), len(mine), len(own) < len(mine), state)
