"""The encoder under the names NVlabs gave it; sithu, TAO and SMP kept them (note 1.6 to 1.9)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .tiny import DEPTHS, HEADS, REDUCTIONS, WIDTHS


class _PatchEmbed(nn.Module):
    def __init__(self, channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(width, eps=1e-5)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, reduction)
            self.norm = nn.LayerNorm(width, eps=1e-5)

    def forward(self, x: Tensor, rows: int) -> Tensor:
        batch, count, width = x.shape
        source = x
        if hasattr(self, "sr"):
            grid = x.permute(0, 2, 1).reshape(batch, width, rows, count // rows)
            source = self.norm(self.sr(grid).flatten(2).permute(0, 2, 1))
        each = width // self.heads
        query = self.q(x).reshape(batch, count, self.heads, each).permute(0, 2, 1, 3)
        pair = self.kv(source).reshape(batch, -1, 2, self.heads, each).permute(2, 0, 3, 1, 4)
        key, value = pair[0], pair[1]  # the first half of the rows is the key
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(mixed.permute(0, 2, 1, 3).reshape(batch, count, width))
        return out


class _DepthwiseConv(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.dwconv = _DepthwiseConv(hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor, rows: int) -> Tensor:
        x = self.fc1(x)
        grid = x.permute(0, 2, 1).reshape(x.shape[0], x.shape[2], rows, -1)
        x = functional.gelu(self.dwconv.dwconv(grid).flatten(2).permute(0, 2, 1))
        out: Tensor = self.fc2(x)
        return out


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, reduction: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = _Attention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = _Mlp(width, 4 * width)

    def forward(self, x: Tensor, rows: int) -> Tensor:
        x = x + self.attn(self.norm1(x), rows)
        out: Tensor = x + self.mlp(self.norm2(x), rows)
        return out


class MixVisionTransformer(nn.Module):
    """(B,3,H,W) → four maps; patch and reducer norms 1e-5, block and stage norms `eps`."""

    def __init__(self, eps: float) -> None:
        """Build the four stages with suffixes 1 to 4."""
        super().__init__()
        channels = 3
        for stage, width in enumerate(WIDTHS):
            kernel, stride = (3, 2) if stage else (7, 4)
            blocks = [
                _Block(width, HEADS[stage], REDUCTIONS[stage], eps) for _ in range(DEPTHS[stage])
            ]
            setattr(self, f"patch_embed{stage + 1}", _PatchEmbed(channels, width, kernel, stride))
            setattr(self, f"block{stage + 1}", nn.ModuleList(blocks))
            setattr(self, f"norm{stage + 1}", nn.LayerNorm(width, eps=eps))
            channels = width

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps at strides 4, 8, 16 and 32."""
        maps = []
        for number in (1, 2, 3, 4):
            embed = getattr(self, f"patch_embed{number}")
            x = embed.proj(x)
            batch, width, rows, _ = x.shape
            tokens = embed.norm(x.flatten(2).permute(0, 2, 1))
            for block in getattr(self, f"block{number}"):
                tokens = block(tokens, rows)
            tokens = getattr(self, f"norm{number}")(tokens)
            x = tokens.permute(0, 2, 1).reshape(batch, width, rows, -1)
            maps.append(x)
        return maps


class Projection(nn.Module):
    """The MLP of NVlabs' head: a Linear called `proj` on the pixels of a map."""

    def __init__(self, width: int, decoder: int) -> None:
        """Build the projection of a stage of `width` channels."""
        super().__init__()
        self.proj = nn.Linear(width, decoder)

    def forward(self, feature: Tensor) -> Tensor:
        """(B,C,h,w) → (B,decoder,h,w)."""
        out: Tensor = self.proj(feature.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


def joined(branches: list[Tensor]) -> Tensor:
    """Resize every branch to the first (corners not aligned) and stack them deepest first."""
    size = branches[0].shape[2:]
    resized = [functional.interpolate(b, size, mode="bilinear") for b in branches]
    return torch.cat([resized[3], resized[2], resized[1], resized[0]], dim=1)
