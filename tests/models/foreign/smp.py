"""segmentation_models_pytorch's Segformer (note 1.8)."""

from __future__ import annotations

from torch import Tensor, nn

from .mit import MixVisionTransformer, joined
from .tiny import CLASSES, DECODER, WIDTHS


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, DECODER)

    def forward(self, feature: Tensor) -> Tensor:
        out: Tensor = self.linear(feature.movedim(1, -1)).movedim(-1, 1)
        return out


class _Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mlp_stage = nn.ModuleList(_Mlp(width) for width in WIDTHS[::-1])  # deepest first
        self.fuse_stage = nn.Sequential(
            nn.Conv2d(4 * DECODER, DECODER, 1, bias=False), nn.BatchNorm2d(DECODER), nn.ReLU()
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        branches = [self.mlp_stage[3 - stage](item) for stage, item in enumerate(maps)]
        out: Tensor = self.fuse_stage(joined(branches))
        return out


class SmpNet(nn.Module):
    """Logits at full size: four times larger with aligned corners; H and W multiples of 32."""

    def __init__(self, corners: bool = True) -> None:
        """Build it; `corners=False` is the mistake a reader can make."""
        super().__init__()
        self.encoder = MixVisionTransformer(eps=1e-6)
        self.decoder = _Decoder()
        larger = nn.Upsample(scale_factor=4, mode="bilinear", align_corners=corners)
        self.segmentation_head = nn.Sequential(nn.Conv2d(DECODER, CLASSES, 1), larger)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B,3,H,W) → (B,K,H,W)."""
        out: Tensor = self.segmentation_head(self.decoder(self.encoder(pixels)))
        return out
