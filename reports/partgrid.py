"""Parts of a SegFormer laid out as a grid: one row per part, one column per stage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .format import ABSENT

_STAGE = re.compile(r"(stage \d+) (.+)")
# forward order of the parts within a block; a part of no known name goes last
_ORDER = (
    "patch embed", "norms", "sr", "q", "kv", "qk", "pv", "attn proj", "residual", "fc1", "dwconv",
    "gelu", "fc2",
)  # fmt: skip


@dataclass(frozen=True)
class Shade:
    """A cell: its text, the class that colours it, and the whole name of its part."""

    text: str
    tone: str = ""
    title: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of shades; a part a stage does not have is a dash."""

    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Shade, ...]], ...]


def part_grids(shades: Mapping[str, Shade]) -> tuple[Grid, ...]:
    """Lay out part → shade as the encoder's grid and, below it, the list of all other parts."""
    split = {part: _STAGE.fullmatch(part) for part in shades}
    stages = list(dict.fromkeys(found[1] for found in split.values() if found))
    kinds = _sorted(dict.fromkeys(found[2] for found in split.values() if found))
    others = [part for part, found in split.items() if not found]
    grids = []
    if stages:
        rows = tuple(
            (kind, tuple(shades.get(f"{stage} {kind}", Shade(ABSENT)) for stage in stages))
            for kind in kinds
        )
        grids.append(Grid("part", tuple(stages), rows))
    if others:
        grids.append(Grid("part", ("head",), tuple((part, (shades[part],)) for part in others)))
    return tuple(grids)


def _sorted(kinds: Iterable[str]) -> list[str]:
    return sorted(kinds, key=lambda kind: _ORDER.index(kind) if kind in _ORDER else len(_ORDER))
