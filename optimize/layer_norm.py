"""Rewrite 4: LayerNorm stays one operator and hands its affine part to the maps that follow.

With x̂ the normalised input, W(γ∘x̂ + β) + b = (W·diag γ) x̂ + (b + Wβ). It is exact where every
consumer is affine and pads nothing after the norm: norm1 → q, and k, v or the reducing
convolution (kernel = stride, no padding); the reducer's norm → k, v; norm2 → fc1. Patch and
stage norms feed a residual stream or a padded convolution and keep theirs. What is left has
γ = 1 and β = 0: unit-variance activations, which a quantizer likes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..models.segformer import Attention, Block, MixFfn, SegFormer
from .passes import PassResult


class FoldLayerNorms:
    """Move γ and β of the norms inside blocks into the linear maps behind them."""

    name = "fold-layer-norm"

    def run(self, model: SegFormer) -> PassResult:
        """Fold in place; run it before the passes that replace attention and Mix-FFN."""
        changed, notes = 0, []
        for name, block in model.named_modules():
            if not isinstance(block, Block):
                continue
            if not isinstance(block.attn, Attention) or not isinstance(block.ffn, MixFfn):
                notes.append(f"{name}: skipped, attention or Mix-FFN was already rewritten")
                continue
            changed += _fold_block(block, block.attn, block.ffn)
        notes.append(f"{changed} affine parts moved; patch and stage norms keep theirs")
        return PassResult(model, changed, tuple(notes))


def _fold_block(block: Block, attn: Attention, ffn: MixFfn) -> int:
    consumers: list[nn.Linear | nn.Conv2d] = [attn.q]
    consumers += [attn.sr] if attn.reduces else [attn.k, attn.v]
    _move_affine(block.norm1, consumers)
    _move_affine(block.norm2, [ffn.fc1])
    if attn.reduces:
        _move_affine(attn.sr_norm, [attn.k, attn.v])
    return 3 if attn.reduces else 2


def _move_affine(norm: nn.LayerNorm, consumers: list[nn.Linear | nn.Conv2d]) -> None:
    """Fold γ (C) and β (C) of `norm` into each consumer's weight (out,C,…) and bias (out)."""
    gamma, beta = norm.weight.detach().double(), norm.bias.detach().double()
    for layer in consumers:
        weight, dtype = layer.weight.detach().double(), layer.weight.dtype
        shape = (1, -1) + (1,) * (weight.dim() - 2)
        shift = (weight * beta.reshape(shape)).flatten(1).sum(dim=1)
        layer.weight = nn.Parameter((weight * gamma.reshape(shape)).to(dtype))
        layer.bias = nn.Parameter(_bias(layer).add(shift).to(dtype))
    norm.weight = nn.Parameter(torch.ones_like(norm.weight))
    norm.bias = nn.Parameter(torch.zeros_like(norm.bias))


def _bias(layer: nn.Linear | nn.Conv2d) -> Tensor:
    if layer.bias is None:
        return torch.zeros(layer.weight.shape[0], dtype=torch.float64)
    return layer.bias.detach().double()
