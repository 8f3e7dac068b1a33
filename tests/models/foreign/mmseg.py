"""mmsegmentation's own SegFormer, and SegFormer++ without merging (note 1.10)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .tiny import CLASSES, DECODER, DEPTHS, HEADS, REDUCTIONS, WIDTHS

EPS = 1e-6  # at all four sites


class _PatchEmbed(nn.Module):
    def __init__(self, channels: int, width: int, first: bool) -> None:
        super().__init__()
        kernel, stride = (7, 4) if first else (3, 2)
        self.projection = nn.Conv2d(channels, width, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(width, eps=EPS)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, reduction)
            self.norm = nn.LayerNorm(width, eps=EPS)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        source = x
        if hasattr(self, "sr"):
            grid = x.mT.reshape(x.shape[0], -1, height, width)
            source = self.norm(self.sr(grid).flatten(2).mT)
        out: Tensor = self.attn(x, source, source)[0]
        return out


class _Ffn(nn.Module):
    """1×1 conv, depthwise conv, GELU, dropout, 1×1 conv; all on maps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = 4 * width
        self.layers = nn.Sequential(
            nn.Conv2d(width, hidden, 1),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
            nn.GELU(),
            nn.Dropout(0.0),
            nn.Conv2d(hidden, width, 1),
        )


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = _Attention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.ffn = _Ffn(width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        x = x + self.attn(self.norm1(x), height, width)
        grid = self.norm2(x).mT.reshape(x.shape[0], -1, height, width)
        out: Tensor = x + self.ffn.layers(grid).flatten(2).mT
        return out


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        channels = 3
        for stage, width in enumerate(WIDTHS):
            blocks = [_Layer(width, HEADS[stage], REDUCTIONS[stage]) for _ in range(DEPTHS[stage])]
            parts = [_PatchEmbed(channels, width, stage == 0), nn.ModuleList(blocks)]
            self.layers.append(nn.ModuleList([*parts, nn.LayerNorm(width, eps=EPS)]))
            channels = width

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for layer in self.layers:
            parts: Any = tuple(layer.children())
            embed, blocks, norm = parts
            x = embed.projection(x)
            height, width = x.shape[2:]
            tokens = embed.norm(x.flatten(2).mT)
            for block in blocks:
                tokens = block(tokens, height, width)
            x = norm(tokens).mT.reshape(x.shape)
            maps.append(x)
        return maps


class _ConvModule(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, DECODER, 1, bias=False)
        self.bn = nn.BatchNorm2d(DECODER)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(DECODER, CLASSES, 1)
        self.convs = nn.ModuleList(_ConvModule(width) for width in WIDTHS)
        self.fusion_conv = _ConvModule(4 * DECODER)

    def forward(self, maps: list[Tensor]) -> Tensor:
        size = maps[0].shape[2:]
        branches = [conv(item) for conv, item in zip(self.convs, maps, strict=True)]
        resized = [functional.interpolate(b, size, mode="bilinear") for b in branches]
        out: Tensor = self.conv_seg(self.fusion_conv(torch.cat(resized, dim=1)))  # c1 first
        return out


class MmsegNet(nn.Module):
    """Logits at 1/4."""

    def __init__(self) -> None:
        """Build it."""
        super().__init__()
        self.backbone = _Backbone()
        self.decode_head = _Head()

    def forward(self, pixels: Tensor) -> Tensor:
        """(B,3,H,W) → (B,K,H/4,W/4)."""
        out: Tensor = self.decode_head(self.backbone(pixels))
        return out
