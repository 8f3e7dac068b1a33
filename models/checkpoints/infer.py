"""The architecture of a SegFormer, read off its canonical tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from ...common.errors import InputError
from ..spec import STAGES, HeadKind, HeadSpec, ModelSpec, name_variant

NameOf = Callable[[str], str]  # canonical name → the file's own

_BLOCK = re.compile(r"encoder\.stages\.(\d)\.blocks\.(\d+)\.")
_HEAD = re.compile(r"heads\.([^.]+)\.")
_CHANNELS = 3  # what every contract, data set and session of segship feeds


class _Shapes:
    """Shapes by canonical name; a missing tensor is an error in the file's own words."""

    def __init__(self, tensors: Mapping[str, Tensor], name_of: NameOf, source: str) -> None:
        """Keep what every lookup needs."""
        self.tensors, self.name_of, self.source = tensors, name_of, source

    def has(self, name: str) -> bool:
        return name in self.tensors

    def of(self, name: str, ndim: int) -> tuple[int, ...]:
        """Return the shape of a tensor of `ndim` dimensions."""
        tensor = self.tensors.get(name)
        if tensor is None:
            raise InputError(
                f"Expected {self.name_of(name)!r}, but {self.source} lacks it: the file is "
                "incomplete; save the whole model again."
            )
        if tensor.ndim != ndim or min(tensor.shape, default=0) < 1:
            raise InputError(
                f"Expected {self.name_of(name)!r} with {ndim} dimensions, but {self.source} holds "
                f"the shape {tuple(tensor.shape)}: the file is damaged or of another network."
            )
        return tuple(tensor.shape)


def infer_spec(
    tensors: Mapping[str, Tensor],
    name_of: NameOf = str,
    source: str = "the file",
    attention_heads: tuple[int, ...] | None = None,
) -> ModelSpec:
    """Return the specification canonical tensors show, with default numbers where they are silent.

    Widths, depths, sr ratios, MLP ratios, patch sizes and the heads' sizes come from shapes.
    Strides are 4, 2, 2, 2; a stage has as many attention heads as its width holds the first
    stage's (B0 to B5 and every flavour), unless `attention_heads` is given.

    Raises:
        InputError: a tensor that is needed is missing, or the shapes are no SegFormer's; names
            are the file's own by `name_of`.
    """
    shapes = _Shapes(tensors, name_of, source)
    projections = [shapes.of(f"encoder.stages.{i}.patch_embed.proj.weight", 4) for i in _stages()]
    widths = tuple(shape[0] for shape in projections)
    _require_rgb(projections[0][1], name_of, source)
    spec = ModelSpec(
        widths=widths,
        depths=_depths(tensors, name_of, source),
        attention_heads=attention_heads or _attention_heads(widths, source),
        sr_ratios=tuple(_sr_ratio(shapes, stage) for stage in _stages()),
        mlp_ratios=tuple(_mlp_ratio(shapes, stage, widths[stage]) for stage in _stages()),
        patch_sizes=tuple(shape[2] for shape in projections),
        sr_at_ratio_1=any(
            shapes.has(name) and shapes.of(name, 4)[2] == 1 for name in map(_sr, _stages())
        ),
        heads=_heads(shapes),
    )
    return name_variant(spec)


def _stages() -> range:
    return range(STAGES)


def _sr(stage: int) -> str:
    return f"encoder.stages.{stage}.blocks.0.attn.sr.weight"


def _require_rgb(channels: int, name_of: NameOf, source: str) -> None:
    if channels != _CHANNELS:
        raise InputError(
            f"Expected a network on {_CHANNELS} channels, but "
            f"{name_of('encoder.stages.0.patch_embed.proj.weight')!r} in {source} takes {channels}:"
            " segship feeds RGB images only; see `segship export FILE --module file.py:Class`."
        )


def _depths(tensors: Mapping[str, Tensor], name_of: NameOf, source: str) -> tuple[int, ...]:
    found: dict[int, set[int]] = {stage: set() for stage in _stages()}
    for match in filter(None, map(_BLOCK.match, tensors)):
        found.setdefault(int(match[1]), set()).add(int(match[2]))
    for stage, blocks in found.items():
        if missing := set(range(max(blocks, default=0) + 1)) - blocks:
            example = f"encoder.stages.{stage}.blocks.{min(missing)}.norm1.weight"
            raise InputError(
                f"Expected {name_of(example)!r} (block {min(missing)} of stage {stage + 1}), but "
                f"{source} lacks it: the file is incomplete; save the whole model again."
            )
    return tuple(len(found[stage]) for stage in _stages())


def _attention_heads(widths: tuple[int, ...], source: str) -> tuple[int, ...]:
    if any(width % widths[0] for width in widths):
        raise InputError(
            f"Expected stage widths that are multiples of the first, but {source} has {widths}: "
            "the attention heads cannot be told from the tensors; state them with "
            "--set attention_heads=1,2,5,8."
        )
    return tuple(width // widths[0] for width in widths)


def _sr_ratio(shapes: _Shapes, stage: int) -> int:
    """Return the kernel of the reduction; its other tensors without it are a damaged file."""
    block = _sr(stage).removesuffix("sr.weight")
    parts = ("sr.weight", "sr.bias", "sr_norm.weight", "sr_norm.bias")
    return shapes.of(_sr(stage), 4)[2] if any(shapes.has(block + part) for part in parts) else 1


def _mlp_ratio(shapes: _Shapes, stage: int, width: int) -> int:
    name = f"encoder.stages.{stage}.blocks.0.ffn.fc1.weight"
    hidden = shapes.of(name, 2)[0]
    if hidden % width:
        raise InputError(
            f"Expected {shapes.name_of(name)!r} to widen {width} channels a whole number of times, "
            f"but {shapes.source} holds {hidden} rows: the file is of another network."
        )
    return hidden // width


def _heads(shapes: _Shapes) -> tuple[HeadSpec, ...]:
    names = {match[1] for match in filter(None, map(_HEAD.match, shapes.tensors))}
    ordered = sorted(names or {"segmentation"}, key=lambda name: (name != "segmentation", name))
    return tuple(_head(shapes, name) for name in ordered)


def _head(shapes: _Shapes, name: str) -> HeadSpec:
    root = f"heads.{name}"
    branch = shapes.has(f"{root}.branch_bn.0.weight")
    return HeadSpec(
        name=name,
        classes=shapes.of(f"{root}.classifier.weight", 4)[0],
        width=shapes.of(f"{root}.fuse.weight", 4)[0],
        kind=HeadKind.BRANCH_RELU if branch else HeadKind.LINEAR,
        fuse_bias=shapes.has(f"{root}.fuse.bias"),
    )
