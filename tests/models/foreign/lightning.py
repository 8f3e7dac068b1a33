"""hphuongdhsp's Lightning module around a class around transformers' model (note 1.13)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from .tiny import DECODER, DEPTHS, HEADS, WIDTHS


class _SegFormer(nn.Module):
    def __init__(self, side_px: int) -> None:
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        super().__init__()
        self.side_px = side_px
        sizes: dict[str, Any] = {
            "hidden_sizes": list(WIDTHS),
            "depths": list(DEPTHS),
            "num_attention_heads": list(HEADS),
            "decoder_hidden_size": DECODER,
            "num_labels": 1,
        }
        self.segformer = SegformerForSemanticSegmentation(SegformerConfig(**sizes))

    def forward(self, pixels: Tensor) -> Tensor:
        logits = self.segformer(pixel_values=pixels).logits
        return functional.interpolate(logits, (self.side_px, self.side_px), mode="bilinear")


class HphuongdhspWrapper(nn.Module):
    """One class; logits of a fixed size whatever the input (512×512 in the original)."""

    def __init__(self, side_px: int = 64) -> None:
        """Build it; the parameters are `model.segformer.*`."""
        super().__init__()
        self.model = _SegFormer(side_px)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B,3,H,W) → (B,1,side_px,side_px)."""
        out: Tensor = self.model(pixels)
        return out
