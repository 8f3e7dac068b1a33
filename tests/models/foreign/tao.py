"""NVIDIA TAO from version 6, whose fuse convolution has a bias (note 1.7)."""

from __future__ import annotations

from torch import Tensor, nn

from .mit import MixVisionTransformer, Projection, joined
from .tiny import CLASSES, DECODER, WIDTHS


class _Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear_c4 = Projection(WIDTHS[3], DECODER)
        self.linear_c3 = Projection(WIDTHS[2], DECODER)
        self.linear_c2 = Projection(WIDTHS[1], DECODER)
        self.linear_c1 = Projection(WIDTHS[0], DECODER)
        self.linear_fuse = nn.Sequential(
            nn.Conv2d(4 * DECODER, DECODER, 1), nn.BatchNorm2d(DECODER), nn.ReLU()
        )
        self.linear_pred = nn.Conv2d(DECODER, CLASSES, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        layers = (self.linear_c1, self.linear_c2, self.linear_c3, self.linear_c4)
        stacked = joined([layer(item) for layer, item in zip(layers, maps, strict=True)])
        out: Tensor = self.linear_pred(self.linear_fuse(stacked))
        return out


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = MixVisionTransformer(eps=1e-6)
        self.decoder = _Decoder()


class TaoNet(nn.Module):
    """The Lightning module: the network is its `model`; logits at 1/4."""

    def __init__(self) -> None:
        """Build it."""
        super().__init__()
        self.model = _Network()

    def forward(self, pixels: Tensor) -> Tensor:
        """(B,3,H,W) → (B,K,H/4,W/4)."""
        out: Tensor = self.model.decoder(self.model.backbone(pixels))
        return out
