"""The seams of a SegFormer: where a positive scale per channel can move from one side to the other.

At a seam, the tensors `above` make a channel and the tensors `below` read it. Dividing channel c
above by s_c > 0 and multiplying it below by s_c leaves the function as it is, because everything
between the two sides treats channels apart and lets a positive factor through: zero padding,
ReLU, bilinear interpolation, the softmax average over values, an affine map per channel. GELU,
softmax, LayerNorm's statistics and residual sums do not, so there is no seam at fc2, at `proj` of
the attention or on the residual stream.

    norm1 → q, and k and v or the reducing convolution      norm2 → fc1
    sr_norm → k, v                                          stage norm → next patch, projections
    q → k (per head dimension, for the sum q·k)             v → columns of proj
    fc1 → depthwise filters                                 project → fuse, or its BatchNorm
    fuse → its BatchNorm                                    BatchNorm → classifier or fuse
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ...models.segformer import Attention, Block, DecodeHead, MixFfn, SegFormer, Stage


@dataclass(frozen=True)
class Slot:
    """One tensor of `module`, with `channels` of a seam along `dim` from `start` on."""

    path: str
    module: nn.Module
    tensor: str
    dim: int
    start: int = 0

    @property
    def value(self) -> Tensor:
        """The whole tensor, as the module holds it."""
        return cast(Tensor, getattr(self.module, self.tensor)).detach()

    def maxima(self, channels: int) -> Tensor:
        """Return max |w| per channel of the seam, (C) float64."""
        part = self.value.narrow(self.dim, self.start, channels).double().abs()
        return part.transpose(0, self.dim).reshape(channels, -1).amax(dim=1)

    def scale(self, factor: Tensor) -> None:
        """Multiply channel c by `factor[c]` (C, float64); the product is formed in float64."""
        part = self.value.narrow(self.dim, self.start, len(factor))
        shape = [1] * part.dim()
        shape[self.dim] = -1
        part.copy_((part.double() * factor.to(part.device).reshape(shape)).to(part.dtype))


@dataclass(frozen=True)
class Seam:
    """A place where a scale can move; `name` is the path of the module whose output it scales.

    `consumers` are those weights `below` whose layer a quantizer would quantize. `partner` is
    the path of the site on the other side of a product of two activations (k, for q). `norm`
    is the BatchNorm between the site `source` and this one.
    """

    name: str
    channels: int
    above: tuple[Slot, ...]
    below: tuple[Slot, ...]
    consumers: tuple[Slot, ...] = ()
    partner: str = ""
    attention: Attention | None = None
    source: str = ""
    norm: nn.BatchNorm2d | None = None
    after_relu: bool = False  # the BatchNorm reads a ReLU's output

    @property
    def normed(self) -> bool:
        """True behind a LayerNorm."""
        return isinstance(self.above[0].module, nn.LayerNorm)

    @property
    def depthwise(self) -> bool:
        """True when every consumer has a quantization scale of its own for each channel."""
        return bool(self.consumers) and all(slot.dim == 0 for slot in self.consumers)

    def divide(self, divisor: Tensor) -> None:
        """Divide the channels at this seam by `divisor` (C, float64, positive), exactly."""
        with torch.no_grad():
            for slot in self.above:
                slot.scale(1.0 / divisor)
            for slot in self.below:
                slot.scale(divisor)

    def weight_maxima(self) -> Tensor:
        """Return max |w| per channel over every consumer, (C) float64."""
        return torch.stack([slot.maxima(self.channels) for slot in self.consumers]).amax(dim=0)


def find_seams(model: SegFormer) -> tuple[tuple[Seam, ...], tuple[str, ...]]:
    """Return the seams of a canonical `model`, input to output, and notes on what has none."""
    seams: list[Seam] = []
    notes: list[str] = []
    heads = {f"heads.{name}": head for name, head in model.heads.items()}
    for path, head in heads.items():
        if not isinstance(head, DecodeHead):
            notes.append(f"{path}, stage norms: no seam, it is a {type(head).__name__} already")
    whole = not notes
    for index, stage in enumerate(model.encoder.stages):
        for number, block in enumerate(cast(Stage, stage).blocks):
            path = f"encoder.stages.{index}.blocks.{number}"
            seams += _block_seams(path, cast(Block, block), notes)
        if whole:
            seams.append(_stage_norm(model, index))
    for path, head in heads.items():
        if isinstance(head, DecodeHead):
            seams += _head_seams(path, head)
    return tuple(seams), tuple(notes)


def _layer(path: str, module: nn.Module, dim: int = 0, start: int = 0) -> tuple[Slot, ...]:
    """Weight and bias of a layer that makes the channels (dim 0)."""
    names = ["weight"] if getattr(module, "bias", None) is None else ["weight", "bias"]
    return tuple(Slot(path, module, name, dim, start) for name in names)


def _columns(path: str, module: nn.Module, start: int = 0) -> Slot:
    return Slot(path, module, "weight", 1, start)


def _reading(name: str, maker: nn.Module, readers: tuple[Slot, ...]) -> Seam:
    """A seam between a layer and the weights that read its output."""
    above = _layer(name, maker)
    return Seam(name, above[0].value.shape[0], above, readers, readers)


def _block_seams(path: str, block: Block, notes: list[str]) -> Iterator[Seam]:
    attn, ffn = block.attn, block.ffn
    if isinstance(attn, Attention):
        yield from _attention_seams(path, block.norm1, attn)
    else:
        notes.append(f"{path}.attn: no seam, it is a {type(attn).__name__} already")
    if isinstance(ffn, MixFfn):
        yield _reading(f"{path}.norm2", block.norm2, (_columns(f"{path}.ffn.fc1", ffn.fc1),))
        depthwise = Slot(f"{path}.ffn.dwconv", ffn.dwconv, "weight", 0)
        yield _reading(f"{path}.ffn.fc1", ffn.fc1, (depthwise,))
    else:
        notes.append(f"{path}.ffn: no seam, it is a {type(ffn).__name__} already")


def _attention_seams(path: str, norm: nn.LayerNorm, attn: Attention) -> Iterator[Seam]:
    inner = f"{path}.attn"
    query = _columns(f"{inner}.q", attn.q)
    pair = (_columns(f"{inner}.k", attn.k), _columns(f"{inner}.v", attn.v))
    if attn.reduces:
        yield _reading(f"{path}.norm1", norm, (query, _columns(f"{inner}.sr", attn.sr)))
        yield _reading(f"{inner}.sr_norm", attn.sr_norm, pair)
    else:
        yield _reading(f"{path}.norm1", norm, (query, *pair))
    above, below = _layer(f"{inner}.q", attn.q), _layer(f"{inner}.k", attn.k)
    channels = attn.q.out_features
    yield Seam(f"{inner}.q", channels, above, below, partner=f"{inner}.k", attention=attn)
    yield _reading(f"{inner}.v", attn.v, (_columns(f"{inner}.proj", attn.proj),))


def _stage_norm(model: SegFormer, index: int) -> Seam:
    """Zero padding of the next patch embedding stays zero under a scale."""
    stages = list(model.encoder.stages)
    readers: list[Slot] = []
    if index + 1 < len(stages):
        following = cast(Stage, stages[index + 1]).patch_embed.proj
        readers.append(_columns(f"encoder.stages.{index + 1}.patch_embed.proj", following))
    for name, head in model.heads.items():
        projection = cast(DecodeHead, head).project[index]
        readers.append(_columns(f"heads.{name}.project.{index}", projection))
    norm = cast(Stage, stages[index]).norm
    return _reading(f"encoder.stages.{index}.norm", norm, tuple(readers))


def _head_seams(path: str, head: DecodeHead) -> Iterator[Seam]:
    width = head.fuse.out_channels
    for index, projection in enumerate(head.project):
        name, start = f"{path}.project.{index}", (len(head.project) - 1 - index) * width
        fuse = _columns(f"{path}.fuse", head.fuse, start)  # columns lie deepest stage first
        if not head.branch_relu:
            yield Seam(name, width, _layer(name, projection), (fuse,), (fuse,))
            continue
        norm = cast(nn.BatchNorm2d, head.branch_bn[index])
        branch = f"{path}.branch_bn.{index}"
        yield _before_norm(name, projection, branch, norm)
        above = _layer(branch, norm)
        yield Seam(branch, width, above, (fuse,), (fuse,), source=name, norm=norm)
    yield _before_norm(f"{path}.fuse", head.fuse, f"{path}.bn", head.bn)
    reader = (_columns(f"{path}.classifier", head.classifier),)
    above, late = _layer(f"{path}.bn", head.bn), head.norm_after_relu
    yield Seam(f"{path}.bn", width, above, reader, reader, "", None, f"{path}.fuse", head.bn, late)


def _before_norm(name: str, layer: nn.Module, norm_path: str, norm: nn.BatchNorm2d) -> Seam:
    """γ(y/s − μ/s)·s/√(var + ε) + β: mean and γ follow, the variance and ε stay."""
    above = (*_layer(name, layer), Slot(norm_path, norm, "running_mean", 0))
    return Seam(name, norm.num_features, above, (Slot(norm_path, norm, "weight", 0),))
