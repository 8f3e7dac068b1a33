"""The canonical SegFormer: one encoder, any number of named heads.

Written from the paper (Xie et al., arXiv 2105.15203, sections 3.1 and 3.2). Every checkpoint
flavour maps onto this class; `ModelSpec` holds what the tensors do not say. Submodules are the
units the passes in `optimize/` replace: `Attention`, `MixFfn` and `DecodeHead`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .spec import HeadKind, HeadSpec, ModelSpec


class PatchEmbed(nn.Module):
    """Overlapping convolution, then LayerNorm over channels: (B,Cin,H,W) → (B,N,C)."""

    def __init__(self, spec: ModelSpec, stage: int) -> None:
        """Build the embedding that opens `stage`."""
        super().__init__()
        width, kernel = spec.widths[stage], spec.patch_sizes[stage]
        channels = spec.widths[stage - 1] if stage else spec.in_channels
        self.proj = nn.Conv2d(channels, width, kernel, spec.strides[stage], kernel // 2)
        self.norm = nn.LayerNorm(width, eps=spec.eps.patch)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        """Return the tokens and the height and width of their grid."""
        x = self.proj(x)
        height, width = x.shape[2], x.shape[3]
        return self.norm(tokens_from_map(x)), height, width


class Attention(nn.Module):
    """Self-attention with keys and values from a map reduced `sr_ratio` times per side."""

    def __init__(self, spec: ModelSpec, stage: int) -> None:
        """Build the attention of one block in `stage`."""
        super().__init__()
        width, ratio = spec.widths[stage], spec.sr_ratios[stage]
        self.heads = spec.attention_heads[stage]
        self.head_dim = width // self.heads
        self.sr_ratio = ratio
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.reduces = ratio > 1 or spec.sr_at_ratio_1
        if self.reduces:
            self.sr = nn.Conv2d(width, width, ratio, ratio)
            self.sr_norm = nn.LayerNorm(width, eps=spec.eps.sr)
        self.proj = nn.Linear(width, width)

    def reduce(self, x: Tensor, height: int, width: int) -> Tensor:
        """Return the tokens keys and values come from: (B,N,C) → (B,N/sr²,C)."""
        if not self.reduces:
            return x
        reduced: Tensor = self.sr(map_from_tokens(x, height, width))
        normed: Tensor = self.sr_norm(tokens_from_map(reduced))
        return normed

    def split_heads(self, x: Tensor) -> Tensor:
        """(B,N,heads·d) → (B,heads,N,d)."""
        return x.reshape(x.shape[0], -1, self.heads, self.head_dim).transpose(1, 2)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """softmax(q kᵀ / √d) v per head, heads joined and projected: (B,N,C) → (B,N,C)."""
        source = self.reduce(x, height, width)
        query, key = self.split_heads(self.q(x)), self.split_heads(self.k(source))
        value = self.split_heads(self.v(source))
        scores = query @ key.transpose(-1, -2) / self.head_dim**0.5
        mixed = scores.softmax(dim=-1) @ value
        joined = mixed.transpose(1, 2).reshape(x.shape[0], -1, self.heads * self.head_dim)
        projected: Tensor = self.proj(joined)
        return projected


class MixFfn(nn.Module):
    """fc1 → depthwise 3×3 → exact (erf) GELU → fc2 on tokens (B,N,C)."""

    def __init__(self, width: int, hidden: int) -> None:
        """Build the feed-forward part of a block with `hidden` channels inside."""
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Return tokens of the same shape."""
        hidden = self.dwconv(map_from_tokens(self.fc1(x), height, width))
        out: Tensor = self.fc2(functional.gelu(tokens_from_map(hidden)))
        return out


class Block(nn.Module):
    """x += attention(LN(x)); x += Mix-FFN(LN(x))."""

    def __init__(self, spec: ModelSpec, stage: int) -> None:
        """Build one block of `stage`."""
        super().__init__()
        width = spec.widths[stage]
        self.norm1 = nn.LayerNorm(width, eps=spec.eps.block)
        self.attn: nn.Module = Attention(spec, stage)  # a pass may replace it
        self.norm2 = nn.LayerNorm(width, eps=spec.eps.block)
        self.ffn: nn.Module = MixFfn(width, width * spec.mlp_ratios[stage])

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Return tokens of the same shape (B,N,C)."""
        x = x + self.attn(self.norm1(x), height, width)
        out: Tensor = x + self.ffn(self.norm2(x), height, width)
        return out


class Stage(nn.Module):
    """Patch embedding, blocks, LayerNorm: (B,Cin,H,W) → (B,C,H/stride,W/stride)."""

    def __init__(self, spec: ModelSpec, stage: int) -> None:
        """Build stage number `stage` (0 at stride 4)."""
        super().__init__()
        self.patch_embed = PatchEmbed(spec, stage)
        self.blocks = nn.ModuleList(Block(spec, stage) for _ in range(spec.depths[stage]))
        self.norm = nn.LayerNorm(spec.widths[stage], eps=spec.eps.stage)

    def forward(self, x: Tensor) -> Tensor:
        """Return the stage's feature map."""
        tokens, height, width = self.patch_embed(x)
        for block in self.blocks:
            tokens = block(tokens, height, width)
        return map_from_tokens(self.norm(tokens), height, width)


class Encoder(nn.Module):
    """The Mix Transformer: an image in, four feature maps at strides 4, 8, 16, 32 out."""

    def __init__(self, spec: ModelSpec) -> None:
        """Build all stages."""
        super().__init__()
        self.stages = nn.ModuleList(Stage(spec, index) for index in range(len(spec.widths)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B,3,H,W) float32 → four maps (B,C_i,H_i,W_i)."""
        features: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class DecodeHead(nn.Module):
    """All-MLP head: per-stage projection, up-sampling, concat, 1×1 fuse + BN + ReLU, classifier.

    The fuse takes the stages deepest first (c4, c3, c2, c1), as the original does.
    """

    def __init__(self, spec: ModelSpec, head: HeadSpec) -> None:
        """Build `head` on the encoder `spec` describes."""
        super().__init__()
        self.branch_relu = head.kind is HeadKind.BRANCH_RELU
        self.norm_after_relu = head.norm_after_relu
        self.align_corners = head.align_corners
        stages = len(spec.widths)
        self.project = nn.ModuleList(
            nn.Linear(width, head.width, bias=not self.branch_relu) for width in spec.widths
        )
        if self.branch_relu:
            self.branch_bn = nn.ModuleList(nn.BatchNorm2d(head.width) for _ in range(stages))
        self.fuse = nn.Conv2d(stages * head.width, head.width, 1, bias=head.fuse_bias)
        self.bn = nn.BatchNorm2d(head.width)
        self.classifier = nn.Conv2d(head.width, head.classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Four maps (B,C_i,H_i,W_i) → logits (B,K,H_0,W_0)."""
        size = features[0].shape[2:]
        branches = [
            upsample(self.branch(stage, feature), size, self.align_corners)
            for stage, feature in enumerate(features)
        ]
        fused = self.fuse(torch.cat(branches[::-1], dim=1))
        fused = self.bn(fused.relu()) if self.norm_after_relu else self.bn(fused).relu()
        logits: Tensor = self.classifier(fused)
        return logits

    def branch(self, stage: int, feature: Tensor) -> Tensor:
        """Project the map of one stage at its own resolution: (B,C_i,h,w) → (B,D,h,w)."""
        tokens = self.project[stage](tokens_from_map(feature))
        branch = map_from_tokens(tokens, feature.shape[2], feature.shape[3])
        return self.branch_bn[stage](branch).relu() if self.branch_relu else branch


class SegFormer(nn.Module):
    """Encoder and named heads; the forward pass returns one tensor per head."""

    def __init__(self, spec: ModelSpec) -> None:
        """Build the network `spec` describes, with torch's default initialisation."""
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(spec)
        self.heads = nn.ModuleDict({head.name: DecodeHead(spec, head) for head in spec.heads})

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B,3,H,W) float32, normalised → {head: (B,K,H/4,W/4)}, or at H×W for output stride 1."""
        features = self.encoder(pixels)
        outputs = {name: head(features) for name, head in self.heads.items()}
        if self.spec.output_stride == 1:
            size, corners = pixels.shape[2:], self.spec.output_align_corners
            outputs = {name: upsample(out, size, corners) for name, out in outputs.items()}
        return outputs


def map_from_tokens(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B,height·width,C) → (B,C,height,width)."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, height, width)


def tokens_from_map(feature: Tensor) -> Tensor:
    """(B,C,H,W) → (B,H·W,C)."""
    # reshape, not flatten: the tracing exporter writes flatten as Shape–Slice–Concat–Reshape
    return feature.reshape(feature.shape[0], feature.shape[1], -1).transpose(1, 2)


def upsample(feature: Tensor, size: torch.Size, align_corners: bool) -> Tensor:
    """Bilinear interpolation of (B,C,h,w) to (B,C,*size)."""
    return functional.interpolate(feature, size=size, mode="bilinear", align_corners=align_corners)
