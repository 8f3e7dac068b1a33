"""What a flavour is: its names, how it is recognised, and the numbers its tensors do not hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ...common.errors import InputError
from ..spec import Eps, ModelSpec
from .layout import Layout, Tensors
from .messages import listed

ORIGINAL_EPS = Eps(patch=1e-5, sr=1e-5, block=1e-6, stage=1e-6)  # NVlabs and what derives from it


@dataclass(frozen=True)
class Reading:
    """Canonical tensors (dtypes as stored), the specification they show, notes, the spelling."""

    tensors: Tensors
    spec: ModelSpec
    notes: tuple[str, ...]
    layout: Layout


@dataclass(frozen=True)
class Flavour:
    """One way people store a SegFormer.

    `layouts` are its spellings, the first the one that is written. A file is of this flavour
    where keys begin with every one of `marks` (after the prefix), with every one of `has` and
    with none of `lacks`; the user's own word makes `marks` enough. `roots` are the modules of
    the network: a key below them that no row knows is an error, unless `dropped` (pattern →
    reason) says why it may go. `numerics` and `head` are fields of `ModelSpec` and `HeadSpec`.
    """

    name: str
    title: str
    layouts: tuple[Layout, ...]
    marks: tuple[str, ...]
    roots: tuple[str, ...]
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)
    numerics: Mapping[str, Any] = field(default_factory=dict)
    head: Mapping[str, Any] = field(default_factory=dict)
    head_names: tuple[str, ...] = ("segmentation",)
    preset: str = "imagenet"
    size_px: tuple[int, int] | None = None  # the size its authors train at
    sizes_px: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # … by classes
    nvidia: bool = False  # the weights people have in this layout descend from NVIDIA's
    choice_note: str = ""  # said where the user did not choose between two flavours alike
    notes: tuple[str, ...] = ()
    prepare: Callable[[Tensors], Tensors] = dict  # foreign tensors before the rows
    restore: Callable[[Tensors, ModelSpec], Tensors] = lambda tensors, _: tensors  # and after

    def marked(self, keys: Iterable[str]) -> bool:
        """Say whether the modules of this network are there, leaving aside `has` and `lacks`."""
        return all(_any_begins(keys, mark) for mark in self.marks)

    def claims(self, keys: Iterable[str]) -> bool:
        """Say whether tensors of these names (prefix removed) are of this flavour."""
        keys = tuple(keys)
        present = all(_any_begins(keys, mark) for mark in (*self.marks, *self.has))
        return present and not any(_any_begins(keys, mark) for mark in self.lacks)

    def layout_of(self, keys: Iterable[str]) -> Layout:
        """Return the spelling most of the keys are in."""
        keys = tuple(keys)
        return max(self.layouts, key=lambda layout: sum(map(layout.knows, keys)))

    def separate(self, tensors: Mapping[str, Tensor]) -> tuple[Tensors, tuple[str, ...]]:
        """Return the tensors without those the network does not use, and notes on these."""
        kept: Tensors = dict(tensors)
        notes = []
        for pattern, reason in self.dropped.items():
            gone = [key for key in kept if re.match(pattern, key)]
            if gone:
                notes.append(f"left out {listed(gone)}: {reason}")
            for key in gone:
                del kept[key]
        return kept, tuple(notes)

    def rename(
        self, tensors: Mapping[str, Tensor], *, source: str = "the file", prefix: str = ""
    ) -> tuple[Tensors, Layout]:
        """Return the canonical tensors and the spelling they were in; dtypes stay as stored.

        `tensors` come without `prefix`, which only messages need.

        Raises:
            InputError: names this flavour does not have, or shapes its rows cannot take.
        """
        used, _ = self.separate(tensors)
        layout = self.layout_of(used)
        _require_one_spelling(self.layouts, layout, used, source)
        return layout.read(self.prepare(used), source, prefix), layout

    def read(
        self,
        tensors: Mapping[str, Tensor],
        *,
        source: str = "the file",
        prefix: str = "",
        attention_heads: tuple[int, ...] | None = None,
    ) -> Reading:
        """Return what tensors of this flavour (prefix removed) are.

        `attention_heads` is known from elsewhere; by the widths where None. The specification
        names no provenance.

        Raises:
            InputError: as `rename`, or a tensor is missing, or no SegFormer has these shapes.
        """
        from .infer import infer_spec

        canonical, layout = self.rename(tensors, source=source, prefix=prefix)

        def name_of(name: str) -> str:
            return f"{prefix}{layout.foreign_name(name) or name}"

        spec = infer_spec(canonical, name_of, source, attention_heads)
        return Reading(canonical, self.dress(spec), self.separate(tensors)[1], layout)

    def write(
        self, tensors: Mapping[str, Tensor], spec: ModelSpec, layout: Layout | None = None
    ) -> Tensors:
        """Return the foreign tensors of a canonical state dict: the inverse of `read`.

        `layout` is the spelling to write; the flavour's first where None.

        Raises:
            InputError: the layout has no place for a tensor.
        """
        return self.restore((layout or self.layouts[0]).write(tensors), spec)

    def dress(self, spec: ModelSpec) -> ModelSpec:
        """Return `spec` with the numbers of this flavour that no tensor holds."""
        heads = tuple(replace(head, **self.head) for head in spec.heads)
        return replace(spec, heads=heads, **self.numerics)


def _any_begins(keys: Iterable[str], mark: str) -> bool:
    return any(key.startswith(mark) for key in keys)


def _require_one_spelling(
    layouts: tuple[Layout, ...], chosen: Layout, tensors: Tensors, source: str
) -> None:
    for other in layouts:
        strays = [k for k in tensors if other.knows(k) and not chosen.knows(k)]
        if strays:
            raise InputError(
                f"Expected one spelling, but {source} holds tensors in both spellings "
                f"({listed(strays)}): save the model again with one version of transformers."
            )
