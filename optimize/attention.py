"""Rewrite 2: the scale goes into the query projection, keys and values share one projection.

softmax((xW_q + b_q)(…)ᵀ / √d) = softmax((x(W_q/√d) + b_q/√d)(…)ᵀ): what is left in the graph is
MatMul–Softmax–MatMul, the pattern that TensorRT and OpenVINO fuse. K and V read the same
tokens, so one matrix of twice the width replaces two.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..models.segformer import Attention, Block, SegFormer, map_from_tokens, tokens_from_map
from .passes import PassResult


class FusedAttention(nn.Module):
    """Attention with a scaled query and one key-value projection: (B,N,C) → (B,N,C)."""

    def __init__(self, attention: Attention) -> None:
        """Fuse `attention`; weights are combined in float64."""
        super().__init__()
        self.heads, self.head_dim = attention.heads, attention.head_dim
        self.sr_ratio, self.reduces = attention.sr_ratio, attention.reduces
        if self.reduces:
            self.sr, self.sr_norm = attention.sr, attention.sr_norm
        scale = self.head_dim**-0.5
        weight, bias = attention.q.weight, attention.q.bias
        self.q = _linear(
            (weight.double() * scale).to(weight.dtype), (bias.double() * scale).to(bias.dtype)
        )
        self.kv = _linear(
            torch.cat([attention.k.weight, attention.v.weight]),
            torch.cat([attention.k.bias, attention.v.bias]),
        )
        self.proj = attention.proj

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Same function as `Attention.forward`."""
        batch = x.shape[0]
        source = x
        if self.reduces:
            source = self.sr_norm(tokens_from_map(self.sr(map_from_tokens(x, height, width))))
        query = self.q(x).reshape(batch, -1, self.heads, self.head_dim).transpose(1, 2)
        pairs = self.kv(source).reshape(batch, -1, 2, self.heads, self.head_dim)
        key, value = pairs[:, :, 0].permute(0, 2, 3, 1), pairs[:, :, 1].transpose(1, 2)
        mixed = (query @ key).softmax(dim=-1) @ value
        joined = mixed.transpose(1, 2).reshape(batch, -1, self.heads * self.head_dim)
        out: Tensor = self.proj(joined)
        return out


class FuseAttention:
    """Replace every `Attention` by a `FusedAttention`."""

    name = "fuse-attention"

    def run(self, model: SegFormer) -> PassResult:
        """Fuse in place."""
        changed, notes = 0, []
        for name, block in model.named_modules():
            if not isinstance(block, Block):
                continue
            if isinstance(block.attn, Attention):
                block.attn = FusedAttention(block.attn).eval()
                changed += 1
            else:
                notes.append(f"{name}: skipped, it is a {type(block.attn).__name__} already")
        notes.append(f"{changed} blocks: 1/√d inside q, k and v in one projection")
        return PassResult(model, changed, tuple(notes))


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a linear layer with the given (out,in) weight and (out) bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight = nn.Parameter(weight.detach().contiguous())
    layer.bias = nn.Parameter(bias.detach().contiguous())
    return layer
