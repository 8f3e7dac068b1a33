"""What a model costs: parameters and multiply-accumulates, whole and per part.

Counted are convolutions, linear maps and the two matrix products of attention, as in the
SegFormer paper (arXiv 2105.15203, table 1, where "GFLOPs" are multiply-accumulates). The model
runs once on the meta device, where tensors have shapes and no numbers, so a rewritten model is
counted by what it really does and size costs nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..common.errors import InputError
from .segformer import SegFormer

_FLOPS_PER_GMAC = 2e9

# Where a module stands (dots cut off at the front), and the part its cost belongs to.
_Rules = tuple[tuple[re.Pattern[str], str], ...]
_STAGE_PARTS: _Rules = (
    (re.compile(r"patch_embed\b.*"), "patch embedding"),
    (re.compile(r"blocks\.\d+\.attn\.sr\b.*"), "attention reduction"),
    (re.compile(r"blocks\.\d+\.attn\.sr_norm\b.*"), "norms"),
    (re.compile(r"blocks\.\d+\.attn\b.*"), "attention linear"),
    (re.compile(r"blocks\.\d+\.ffn\.dwconv\b.*"), "ffn depthwise"),
    (re.compile(r"blocks\.\d+\.ffn\b.*"), "ffn linear"),
    (re.compile(r"(blocks\.\d+\.)?norm\d?\b.*"), "norms"),
)
_HEAD_PARTS: _Rules = (
    (re.compile(r"(project|branches)\b.*"), "project"),
    (re.compile(r"stages\b.*"), "folded stages"),
    (re.compile(r"(fuse|bn)\b.*"), "fuse"),
    (re.compile(r"classifier\b.*"), "classifier"),
)
_MATMUL_PART = "attention matmul"
_MATMULS = ("bmm", "baddbmm", "attention")


@dataclass(frozen=True)
class PartCost:
    """One part of the model, all its repetitions together."""

    name: str
    parameters: int
    gmacs: float


@dataclass(frozen=True)
class Complexity:
    """Cost of one image of `size_px` (height, width); `parts` add up to the whole."""

    size_px: tuple[int, int]
    parameters: int
    gmacs: float
    parts: tuple[PartCost, ...]


def inspect_model(model: SegFormer, size_px: tuple[int, int]) -> Complexity:
    """Count parameters and GMACs (10⁹ multiply-accumulates) of `model` for one image.

    Works for the canonical model and for rewritten ones. Parts are named "stage 1 attention
    matmul" (QKᵀ and the product with V), "head segmentation fuse" and so on, in the order of
    the forward pass.

    Raises:
        InputError: the size is too small for the model.
    """
    height, width = size_px
    if min(size_px) < model.spec.total_stride:
        raise InputError(
            f"Expected an input of at least {model.spec.total_stride} pixels a side, "
            f"but got {height}x{width}."
        )
    macs, parameters = _macs_by_part(model, height, width), _parameters_by_part(model)
    names = dict.fromkeys([*parameters, *macs])
    parts = tuple(
        PartCost(name, parameters.get(name, 0), macs.get(name, 0.0))
        for name in sorted(names, key=_order)
    )
    return Complexity(size_px, sum(parameters.values()), sum(part.gmacs for part in parts), parts)


def _parameters_by_part(model: nn.Module) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():
        counts[part_name(name)] += parameter.numel()
    return dict(counts)


def _macs_by_part(model: SegFormer, height: int, width: int) -> dict[str, float]:
    """Run on shapes alone and book every product with the innermost module that did it."""
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: tensor.detach().to("meta") for name, tensor in weights.items()}
    pixels = torch.empty(1, model.spec.in_channels, height, width, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        torch.func.functional_call(model, shapes, (pixels,))
    gmacs: dict[str, float] = defaultdict(float)
    for module, operator, flops in _own_flops(counter, model):
        is_matmul = ".attn" in module and any(name in operator for name in _MATMULS)
        gmacs[part_name(module, matmul=is_matmul)] += flops / _FLOPS_PER_GMAC
    return dict(gmacs)


def _own_flops(counter: FlopCounterMode, model: nn.Module) -> Iterator[tuple[str, str, int]]:
    """Yield (module path, operator, flops) without what the modules inside did."""
    root = type(model).__name__
    counts = {path: by_op for path, by_op in counter.get_flop_counts().items() if path != "Global"}
    own = {path: dict(by_op) for path, by_op in counts.items()}
    for path, by_op in counts.items():
        parent = path.rpartition(".")[0]
        while parent and parent not in own:  # containers such as ModuleList are never called
            parent = parent.rpartition(".")[0]
        for operator, flops in by_op.items():
            if parent:
                own[parent][operator] -= flops
    for path, by_op in own.items():
        for operator, flops in by_op.items():
            if flops:
                yield path.removeprefix(root).lstrip("."), str(operator), flops


def part_name(path: str, *, matmul: bool = False) -> str:
    """Return the part a module or parameter path belongs to.

    >>> part_name("encoder.stages.0.blocks.1.attn.q.weight")
    'stage 1 attention linear'
    >>> part_name("heads.depth.classifier")
    'head depth classifier'
    """
    if match := re.fullmatch(r"encoder\.stages\.(\d+)\.?(.*)", path):
        group, rest, rules = f"stage {int(match[1]) + 1}", match[2], _STAGE_PARTS
    elif match := re.fullmatch(r"heads\.([^.]+)\.?(.*)", path):
        group, rest, rules = f"head {match[1]}", match[2], _HEAD_PARTS
    else:
        return "other"
    if matmul:
        return f"{group} {_MATMUL_PART}"
    part = next((name for pattern, name in rules if pattern.fullmatch(rest)), "other")
    return f"{group} {part}"


_PART_ORDER = (
    *("patch embedding", "attention reduction", "attention linear", _MATMUL_PART),
    *(
        "ffn linear",
        "ffn depthwise",
        "norms",
        "project",
        "folded stages",
        "fuse",
        "classifier",
        "other",
    ),
)


def _order(name: str) -> tuple[bool, str, int]:
    """Sort parts: stages, heads, other; inside each as the forward pass meets them."""
    part = next(index for index, part in enumerate(_PART_ORDER) if name.endswith(part))
    group = name.removesuffix(_PART_ORDER[part])
    return not group.startswith("stage"), group, part
