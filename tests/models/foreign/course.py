"""The course notebooks' SegFormer and Segformer3D with its depth head (note 1.11)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .tiny import CLASSES, DECODER, DEPTHS, HEADS, REDUCTIONS, WIDTHS


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.reduction = reduction
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, reduction)
            self.norm = nn.LayerNorm(width)

    def forward(self, grid: Tensor) -> Tensor:
        """(B,h,w,C) → (B,h,w,C)."""
        batch, height, width, channels = grid.shape
        source = grid
        if self.reduction > 1:
            source = self.norm(self.sr(grid.movedim(3, 1)).movedim(1, 3))
        key, value = self.kv(source.reshape(batch, -1, channels)).chunk(2, dim=2)
        query = self.q(grid.reshape(batch, -1, channels))
        parts = []
        size = channels // self.heads
        for head in range(self.heads):
            own = slice(head * size, (head + 1) * size)
            scores = query[..., own] @ key[..., own].mT / math.sqrt(size)
            parts.append(torch.softmax(scores, dim=2) @ value[..., own])
        out: Tensor = self.proj(torch.cat(parts, dim=2)).reshape(batch, height, width, channels)
        return out


class _Ffn(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.conv = nn.Conv2d(4 * width, 4 * width, 3, padding=1, groups=4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, grid: Tensor) -> Tensor:
        hidden = self.conv(self.fc1(grid).movedim(3, 1)).movedim(1, 3)
        out: Tensor = self.fc2(functional.gelu(hidden))
        return out


class _Block(nn.Module):
    def __init__(self, stage: int) -> None:
        super().__init__()
        width = WIDTHS[stage]
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width, HEADS[stage], REDUCTIONS[stage])
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.ffn = _Ffn(width)

    def forward(self, grid: Tensor) -> Tensor:
        grid = grid + self.attn(self.norm1(grid))
        out: Tensor = grid + self.ffn(self.norm2(grid))
        return out


class _PatchEmbed(nn.Module):
    def __init__(self, stage: int) -> None:
        super().__init__()
        channels = WIDTHS[stage - 1] if stage else 3
        kernel, stride = (3, 2) if stage else (7, 4)
        self.proj = nn.Conv2d(channels, WIDTHS[stage], kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(WIDTHS[stage])  # torch's default, 1e-5

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.norm(self.proj(image).movedim(1, 3))
        return out


class _Stage(nn.Module):
    def __init__(self, stage: int) -> None:
        super().__init__()
        self.patch_embed = _PatchEmbed(stage)
        self.blocks = nn.ModuleList(_Block(stage) for _ in range(DEPTHS[stage]))
        self.norm = nn.LayerNorm(WIDTHS[stage], eps=1e-6)

    def forward(self, image: Tensor) -> Tensor:
        grid = self.patch_embed(image)
        for block in self.blocks:
            grid = block(grid)
        out: Tensor = self.norm(grid).movedim(3, 1)
        return out


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_Stage(stage) for stage in range(4))

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [image]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]


class _Head(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(width, DECODER, 1) for width in reversed(WIDTHS))
        self.linear_fuse = nn.Conv2d(4 * DECODER, DECODER, 1, bias=False)
        self.bn = nn.BatchNorm2d(DECODER)
        self.linear_pred = nn.Conv2d(DECODER, outputs, 1)

    def forward(self, maps: list[Tensor], size: torch.Size) -> Tensor:
        quarter = maps[0].shape[2:]
        deepest_first = zip(self.layers, reversed(maps), strict=True)
        branches = [
            functional.interpolate(layer(item), quarter, mode="bilinear", align_corners=False)
            for layer, item in deepest_first
        ]
        fused = functional.relu(self.bn(self.linear_fuse(torch.cat(branches, dim=1))))
        logits = self.linear_pred(fused)
        return functional.interpolate(logits, size, mode="bilinear", align_corners=False)


class CourseNet(nn.Module):
    """Logits at full size, any H and W."""

    def __init__(self) -> None:
        """Build it."""
        super().__init__()
        self.backbone = _Backbone()
        self.decoder_head = _Head(CLASSES)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B,3,H,W) → (B,K,H,W)."""
        out: Tensor = self.decoder_head(self.backbone(pixels), pixels.shape[2:])
        return out


class Segformer3dNet(nn.Module):
    """A second head for depth on the same maps; depth as the network puts it out, signed."""

    def __init__(self) -> None:
        """Build it."""
        super().__init__()
        self.backbone = _Backbone()
        self.decoder_head = _Head(CLASSES)
        self.depth_head = _Head(1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B,3,H,W) → logits (B,K,H,W), depth (B,1,H,W)."""
        maps = self.backbone(pixels)
        size = pixels.shape[2:]
        return self.decoder_head(maps, size), self.depth_head(maps, size)
