"""F. Zuppichini's tutorial class (note 1.13)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .tiny import CLASSES, DECODER, DEPTHS, HEADS, REDUCTIONS, WIDTHS


class _LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Residual(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.fn = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fn(x) + x
        return out


class _Attention(nn.Module):
    """The reducer is there at every ratio, 1 included."""

    def __init__(self, width: int, ratio: int, heads: int) -> None:
        super().__init__()
        self.reducer = nn.Sequential(nn.Conv2d(width, width, ratio, ratio), _LayerNorm2d(width))
        self.att = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.reducer(x).flatten(2).transpose(1, 2)
        tokens = x.flatten(2).transpose(1, 2)
        mixed: Tensor = self.att(tokens, reduced, reduced)[0]
        return mixed.transpose(1, 2).reshape(x.shape)


def _mix_mlp(width: int) -> nn.Sequential:
    """The first convolution keeps the width, the 3×3 has four outputs per channel."""
    return nn.Sequential(
        nn.Conv2d(width, width, 1),
        nn.Conv2d(width, 4 * width, 3, padding=1, groups=width),
        nn.GELU(),
        nn.Conv2d(4 * width, width, 1),
    )


class _Stage(nn.Module):
    def __init__(self, stage: int) -> None:
        super().__init__()
        width = WIDTHS[stage]
        channels = WIDTHS[stage - 1] if stage else 3
        kernel, stride = (3, 2) if stage else (7, 4)
        self.overlap_patch_merge = nn.Sequential(
            nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False), _LayerNorm2d(width)
        )
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    _Residual(
                        _LayerNorm2d(width), _Attention(width, REDUCTIONS[stage], HEADS[stage])
                    ),
                    _Residual(_LayerNorm2d(width), _mix_mlp(width)),
                )
                for _ in range(DEPTHS[stage])
            )
        )
        self.norm = _LayerNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.blocks(self.overlap_patch_merge(x)))
        return out


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_Stage(stage) for stage in range(4))


class _Decoder(nn.Module):
    """Per stage, deepest first: up-sampling to 1/4, then a 1×1 convolution."""

    def __init__(self, corners: bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=corners),
                nn.Conv2d(width, DECODER, 1),
            )
            for factor, width in zip((8, 4, 2, 1), WIDTHS[::-1], strict=True)
        )


class _Head(nn.Module):
    def __init__(self, fuse_bias: bool, relu_first: bool) -> None:
        super().__init__()
        parts = [nn.Conv2d(4 * DECODER, DECODER, 1, bias=fuse_bias), nn.ReLU()]
        self.fuse = nn.Sequential(*parts, nn.BatchNorm2d(DECODER))
        self.order = (0, 1, 2) if relu_first else (0, 2, 1)
        self.predict = nn.Conv2d(DECODER, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        for index in self.order:
            x = self.fuse[index](x)
        out: Tensor = self.predict(x)
        return out


class ZuppichiniNet(nn.Module):
    """Logits at 1/4; H and W multiples of 32.

    `corners`, `relu_first` set to False are the mistakes a reader can make.
    """

    def __init__(
        self, fuse_bias: bool = False, corners: bool = True, relu_first: bool = True
    ) -> None:
        """Build it; every LayerNorm has torch's default eps, 1e-5."""
        super().__init__()
        self.encoder = _Encoder()
        self.decoder = _Decoder(corners)
        self.head = _Head(fuse_bias, relu_first)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B,3,H,W) → (B,K,H/4,W/4)."""
        maps = [pixels]
        for stage in self.encoder.stages:
            maps.append(stage(maps[-1]))
        deepest_first = zip(self.decoder.stages, maps[:0:-1], strict=True)
        out: Tensor = self.head(torch.cat([layer(item) for layer, item in deepest_first], dim=1))
        return out
