"""NVlabs' SegFormer and sithu's copy of it (note 1.6 and 1.9)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from .mit import MixVisionTransformer, Projection, joined
from .tiny import CLASSES, DECODER, WIDTHS


class _ConvModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4 * DECODER, DECODER, 1, bias=False)
        self.bn = nn.BatchNorm2d(DECODER)


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for number in (4, 3, 2, 1):
            setattr(self, f"linear_c{number}", Projection(WIDTHS[number - 1], DECODER))
        self.linear_fuse = _ConvModule()
        self.linear_pred = nn.Conv2d(DECODER, CLASSES, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        stacked = joined([getattr(self, f"linear_c{n}")(maps[n - 1]) for n in (1, 2, 3, 4)])
        fused = self.linear_fuse.bn(self.linear_fuse.conv(stacked))
        out: Tensor = self.linear_pred(functional.relu(fused))
        return out


class NvlabsNet(nn.Module):
    """Logits at 1/4; an unused `conv_seg` in the file."""

    def __init__(self) -> None:
        """Build it with block and stage norms of eps 1e-6."""
        super().__init__()
        self.backbone = MixVisionTransformer(eps=1e-6)
        self.decode_head = _Head()
        self.decode_head.conv_seg = nn.Conv2d(128, CLASSES, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B,3,H,W) → (B,K,H/4,W/4)."""
        out: Tensor = self.decode_head(self.backbone(pixels))
        return out


class SithuNet(nn.Module):
    """Logits at full size, every LayerNorm 1e-5, no `conv_seg`."""

    def __init__(self) -> None:
        """Build it."""
        super().__init__()
        self.backbone = MixVisionTransformer(eps=1e-5)
        self.decode_head = _Head()

    def forward(self, pixels: Tensor) -> Tensor:
        """(B,3,H,W) → (B,K,H,W)."""
        logits = self.decode_head(self.backbone(pixels))
        return functional.interpolate(logits, pixels.shape[2:], mode="bilinear")
