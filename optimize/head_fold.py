"""Rewrite 1: fold the decode head so that nothing wide happens at stride 4.

A 1×1 convolution commutes with any per-channel linear map of the pixels, and bilinear weights
sum to one (with either setting of align_corners). With U_i the up-sampling of stage i to
stride 4, W_i, b_i its projection, F_i its columns of the fuse, and s = γ/√(var + ε) of the
BatchNorm:

    ReLU(BN(F·concat_i U_i(W_i x_i + b_i) + f))
        = ReLU(Σ_i U_i((s∘F_i W_i) x_i) + β + s∘(f − μ) + Σ_i s∘F_i b_i)

One 1×1 convolution per stage at the stage's own resolution, no concat, no BatchNorm. Where a
branch has its own BatchNorm and ReLU (mmsegmentation) the BatchNorm folds into W_i and only F_i
moves before the up-sampling. Where the BatchNorm follows the ReLU (Zuppichini) it folds into the
classifier instead. Products are formed in float64 and stored in the head's own dtype.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..models.segformer import DecodeHead, SegFormer, upsample
from .passes import PassResult


class FoldedHead(nn.Module):
    """Per-stage 1×1 convolutions, up-sampling, sum, ReLU, classifier."""

    def __init__(self, head: DecodeHead) -> None:
        """Fold `head`; its parameters are not shared."""
        super().__init__()
        self.align_corners = head.align_corners
        self.branch_relu = head.branch_relu
        weights, bias = _folded_weights(head)
        if self.branch_relu:
            self.branches = nn.ModuleList(_folded_branches(head))
        dtype = head.classifier.weight.dtype
        self.stages = nn.ModuleList(_convolution(weight, None, dtype) for weight in weights)
        self.stages[0].bias = nn.Parameter(bias.to(dtype))
        self.classifier = folded_classifier(head) if head.norm_after_relu else head.classifier

    def forward(self, features: list[Tensor]) -> Tensor:
        """Four maps (B,C_i,H_i,W_i) → logits (B,K,H_0,W_0)."""
        size = features[0].shape[2:]
        total = self._stage(0, features[0])
        for index in range(len(features) - 1, 0, -1):
            branch = self._stage(index, features[index])
            total = total + upsample(branch, size, self.align_corners)
        logits: Tensor = self.classifier(total.relu())
        return logits

    def _stage(self, index: int, feature: Tensor) -> Tensor:
        if self.branch_relu:
            feature = self.branches[index](feature).relu()
        out: Tensor = self.stages[index](feature)
        return out


class FoldHeads:
    """Replace every `DecodeHead` by a `FoldedHead`."""

    name = "fold-head"

    def run(self, model: SegFormer) -> PassResult:
        """Fold the heads in place."""
        changed, notes = 0, []
        for name, head in list(model.heads.items()):
            if not isinstance(head, DecodeHead):
                notes.append(f"{name}: not folded, it is a {type(head).__name__} already")
                continue
            folded = FoldedHead(head).eval()
            before, after = _parameters(head), _parameters(folded)
            kind = "fuse moved before the up-sampling" if head.branch_relu else "one 1×1 per stage"
            notes.append(f"{name}: {kind}, {before:,} → {after:,} parameters")
            model.heads[name] = folded
            changed += 1
        return PassResult(model, changed, tuple(notes))


def _folded_weights(head: DecodeHead) -> tuple[list[Tensor], Tensor]:
    """Return one (D,C_i) weight per stage and the shared bias (D), in float64."""
    scale, bias = _identity(head) if head.norm_after_relu else _affine(head.bn)
    if head.fuse.bias is not None:
        bias = bias + scale * head.fuse.bias.double()
    fuse = head.fuse.weight.double().flatten(1)
    columns = fuse.chunk(len(head.project), dim=1)[::-1]  # stored deepest stage first
    weights = []
    for part, projection in zip(columns, head.project, strict=True):
        scaled = scale[:, None] * part
        if head.branch_relu:
            weights.append(scaled)
            continue
        linear = cast(nn.Linear, projection)
        weights.append(scaled @ linear.weight.double())
        bias = bias + scaled @ linear.bias.double()
    return weights, bias.detach()


def _affine(bn: nn.Module) -> tuple[Tensor, Tensor]:
    """Return scale and shift (D) of a BatchNorm in evaluation mode, in float64."""
    norm = cast(nn.BatchNorm2d, bn)
    if norm.running_var is None or norm.running_mean is None:  # pragma: no cover - canonical has
        raise TypeError("BatchNorm without running statistics cannot be folded")
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - scale * norm.running_mean.double()


def _identity(head: DecodeHead) -> tuple[Tensor, Tensor]:
    ones = torch.ones(head.fuse.out_channels, dtype=torch.float64)
    return ones, torch.zeros_like(ones)


def _folded_branches(head: DecodeHead) -> list[nn.Conv2d]:
    """Return one 1×1 convolution per stage that projects and normalises."""
    branches, dtype = [], head.classifier.weight.dtype
    for projection, norm in zip(head.project, head.branch_bn, strict=True):
        scale, shift = _affine(norm)
        weight = scale[:, None] * cast(nn.Linear, projection).weight.double()
        branches.append(_convolution(weight, shift, dtype))
    return branches


def folded_classifier(head: DecodeHead) -> nn.Conv2d:
    """Return the classifier with the BatchNorm in front of it folded in."""
    scale, shift = _affine(head.bn)
    weight = head.classifier.weight.double().flatten(1)
    bias = weight @ shift
    if head.classifier.bias is not None:
        bias = bias + head.classifier.bias.double()
    return _convolution(weight * scale, bias, head.classifier.weight.dtype)


def _convolution(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> nn.Conv2d:
    """Return a 1×1 convolution in `dtype` with the given (out,in) weight."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=bias is not None)
    conv.weight = nn.Parameter(weight.detach().to(dtype)[:, :, None, None].contiguous())
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach().to(dtype))
    return conv


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
