"""A flavour's key names as a table of rows that reads in both directions.

A row pairs a foreign module with the canonical module or modules it becomes, and an operation on
its tensors. Every operation only moves numbers, so writing what was read gives the same bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...common.errors import InputError
from ..spec import STAGES
from .messages import listed

Tensors = dict[str, Tensor]

COUNTER = "num_batches_tracked"  # not stored by every version, and not used at inference
_LEAF = rf"(?P<leaf>weight|bias|running_mean|running_var|{COUNTER})"

# how a foreign name counts stages: placeholder → (stage 0..3 → number, number → stage)
_Count = Callable[[int], int]
_STAGE_NUMBERS: dict[str, tuple[_Count, _Count]] = {
    "i": (lambda stage: stage, lambda number: number),  # 0..3
    "s": (lambda stage: stage + 1, lambda number: number - 1),  # 1..4
    "k": (lambda stage: STAGES - 1 - stage, lambda number: STAGES - 1 - number),  # deepest first
}


@dataclass(frozen=True)
class Op:
    """What happens to a module's tensors: `read` to canonical, `write` back.

    Both take the leaf's name; `read` gets one tensor and returns `parts`, `write` the reverse.
    Tensors may be on the meta device: only shapes are looked at.
    """

    read: Callable[[Tensor, str], list[Tensor]]
    write: Callable[[list[Tensor], str], Tensor]
    parts: int = 1


def _split(parts: int) -> Op:
    """Rows of several Linear layers stored as one: k then v, or q, k, v."""

    def read(tensor: Tensor, _: str) -> list[Tensor]:
        if tensor.ndim == 0 or tensor.shape[0] % parts:
            raise ValueError(f"a number of rows divisible by {parts}")
        return [part.clone() for part in tensor.chunk(parts)]

    return Op(read, lambda tensors, _: torch.cat(tensors), parts)


def _flip_columns(tensor: Tensor, leaf: str) -> Tensor:
    """Reverse the order of the four stages among the input channels (its own inverse)."""
    if leaf != "weight":
        return tensor
    if tensor.ndim < 2 or tensor.shape[1] % STAGES:
        raise ValueError(f"input channels divisible by {STAGES}")
    return torch.cat(tensor.chunk(STAGES, dim=1)[::-1], dim=1)


def _conv_to_linear(tensor: Tensor, leaf: str) -> Tensor:
    if leaf != "weight":
        return tensor
    if tensor.ndim != 4 or tensor.shape[2:] != (1, 1):
        raise ValueError("the weight of a 1x1 convolution")
    return tensor.reshape(tensor.shape[:2])


def _linear_to_conv(tensor: Tensor, leaf: str) -> Tensor:
    return tensor.reshape(*tensor.shape, 1, 1) if leaf == "weight" else tensor


SAME = Op(lambda tensor, _: [tensor], lambda tensors, _: tensors[0])
KV = _split(2)
QKV = _split(3)
SHALLOW_FIRST = Op(
    lambda tensor, leaf: [_flip_columns(tensor, leaf)],
    lambda tensors, leaf: _flip_columns(tensors[0], leaf),
)
CONV_1X1 = Op(
    lambda tensor, leaf: [_conv_to_linear(tensor, leaf)],
    lambda tensors, leaf: _linear_to_conv(tensors[0], leaf),
)


@dataclass(frozen=True)
class Row:
    """One foreign module and the canonical module (or modules, for a split) it becomes.

    Names hold {j} for the block and, for the stage, {i} (0..3), {s} (1..4) or {k} (3..0); the
    canonical side only {i} and {j}. A name without {leaf} ends in ".{leaf}". `no_bias` says
    that the foreign module has no bias where the canonical one has: zeros stand for it.
    """

    foreign: str
    canonical: tuple[str, ...]
    op: Op = SAME
    no_bias: bool = False


def row(foreign: str, *canonical: str, op: Op = SAME, no_bias: bool = False) -> Row:
    """Return a row of a layout."""
    return Row(_whole(foreign), tuple(map(_whole, canonical)), op, no_bias)


def under(canonical: str, foreign: str, rows: Mapping[str, str]) -> tuple[Row, ...]:
    """Return plain renaming rows below two prefixes; `rows` maps foreign to canonical names."""
    return tuple(row(foreign + theirs, canonical + ours) for theirs, ours in rows.items())


def _whole(template: str) -> str:
    return template if "{leaf}" in template else f"{template}.{{leaf}}"


def _pattern(template: str) -> re.Pattern[str]:
    """Compile a template to a pattern with the groups of its placeholders.

    >>> _pattern("a.{s}.b_{leaf}").fullmatch("a.3.b_weight").groupdict()
    {'s': '3', 'leaf': 'weight'}
    """
    escaped = re.escape(template).replace(r"\{leaf\}", _LEAF)
    for name in (*_STAGE_NUMBERS, "j"):
        escaped = escaped.replace(rf"\{{{name}\}}", rf"(?P<{name}>0|[1-9]\d{{0,3}})")
    return re.compile(escaped)


@dataclass(frozen=True)
class _Place:
    """Where a tensor belongs: a row, the part of it, and the numbers in its name."""

    row: Row
    part: int
    stage: int
    block: str
    leaf: str

    def canonical(self) -> list[str]:
        """Return the canonical names of every part."""
        names = {"i": self.stage, "j": self.block, "leaf": self.leaf}
        return [template.format(**names) for template in self.row.canonical]

    def foreign(self) -> str:
        """Return the foreign name."""
        stages = {name: count(self.stage) for name, (count, _) in _STAGE_NUMBERS.items()}
        return self.row.foreign.format(**stages, j=self.block, leaf=self.leaf)


class Layout:
    """The rows of one spelling, compiled for both directions."""

    def __init__(self, *rows: Row) -> None:
        """Compile `rows`."""
        self._foreign = [(_pattern(item.foreign), item, 0) for item in rows]
        self._canonical = [
            (_pattern(template), item, part)
            for item in rows
            for part, template in enumerate(item.canonical)
        ]

    def knows(self, key: str) -> bool:
        """Say whether a foreign name belongs to this layout."""
        return _find(key, self._foreign) is not None

    def canonical_names(self, key: str) -> tuple[str, ...]:
        """Return the canonical names a foreign tensor becomes; none for an unknown name."""
        place = _find(key, self._foreign)
        return tuple(place.canonical()) if place else ()

    def foreign_name(self, name: str) -> str | None:
        """Return the foreign name of a canonical tensor, or None."""
        place = _find(name, self._canonical)
        return place.foreign() if place else None

    def read(self, tensors: Mapping[str, Tensor], source: str, prefix: str = "") -> Tensors:
        """Return the canonical tensors; dtypes stay as stored. `prefix` is for messages.

        Raises:
            InputError: an unknown name, or a shape the row's operation cannot take.
        """
        found: Tensors = {}
        unknown = []
        for key, tensor in tensors.items():
            place = _find(key, self._foreign)
            if place is None:
                unknown.append(f"{prefix}{key}")
                continue
            parts = _apply(place, f"{prefix}{key}", tensor, source)
            found.update(zip(place.canonical(), parts, strict=True))
            if place.row.no_bias and place.leaf == "weight":
                bias = place.canonical()[0].removesuffix("weight") + "bias"
                found.setdefault(bias, tensor.new_zeros(tensor.shape[:1]))
        if unknown:
            raise InputError(
                f"Expected only tensors segship knows, but {source} also holds {listed(unknown)}: "
                "this is another network; see `segship export FILE --module file.py:Class`."
            )
        return found

    def write(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Return the foreign tensors of canonical ones: the inverse of `read`.

        Raises:
            InputError: a tensor this layout has no place for.
        """
        parts: dict[str, tuple[_Place, dict[int, Tensor]]] = {}
        for name, tensor in tensors.items():
            place = _find(name, self._canonical)
            if place is None:
                raise InputError(f"Expected a tensor this layout can hold, but got {name!r}.")
            if place.row.no_bias and place.leaf == "bias":
                _require_zero(name, tensor)
                continue
            parts.setdefault(place.foreign(), (place, {}))[1][place.part] = tensor
        return {key: _join(place, found) for key, (place, found) in parts.items()}


def _find(key: str, patterns: list[tuple[re.Pattern[str], Row, int]]) -> _Place | None:
    for pattern, item, part in patterns:
        if match := pattern.fullmatch(key):
            groups = match.groupdict()
            stage = 0
            for name, (_, back) in _STAGE_NUMBERS.items():
                if name in groups:
                    stage = back(int(groups[name]))
            if not 0 <= stage < STAGES:
                continue
            return _Place(item, part, stage, groups.get("j", ""), groups["leaf"])
    return None


def _apply(place: _Place, key: str, tensor: Tensor, source: str) -> list[Tensor]:
    try:
        return place.row.op.read(tensor, place.leaf)
    except ValueError as error:
        raise InputError(
            f"Expected {error} in {key!r}, but {source} holds the shape {tuple(tensor.shape)}: "
            "the file is damaged or belongs to another network."
        ) from error


def _join(place: _Place, found: dict[int, Tensor]) -> Tensor:
    if len(found) != place.row.op.parts:
        raise InputError(f"Expected every part of {place.foreign()!r}, but some are missing.")
    return place.row.op.write([found[part] for part in sorted(found)], place.leaf)


def _require_zero(name: str, tensor: Tensor) -> None:
    if not tensor.is_meta and bool(tensor.count_nonzero()):
        raise InputError(f"Expected {name!r} to be zero in this layout, but it is not.")
