"""Rewrite 3: Mix-FFN in one layout.

fc1 and fc2 become 1×1 convolutions around the depthwise one, so the two transposes happen at
width C instead of 4C, and a runtime with a blocked layout stays in it from fc1 to fc2.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ..models.segformer import Block, MixFfn, SegFormer, map_from_tokens, tokens_from_map
from .passes import PassResult


class ConvMixFfn(nn.Module):
    """fc1 → depthwise 3×3 → GELU → fc2 on a map, tokens (B,N,C) in and out."""

    def __init__(self, ffn: MixFfn) -> None:
        """Take over the weights of `ffn`."""
        super().__init__()
        self.fc1 = _pointwise(ffn.fc1)
        self.dwconv = ffn.dwconv
        self.fc2 = _pointwise(ffn.fc2)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Same function as `MixFfn.forward`."""
        hidden = self.dwconv(self.fc1(map_from_tokens(x, height, width)))
        return tokens_from_map(self.fc2(functional.gelu(hidden)))


class ConvertMixFfn:
    """Replace every `MixFfn` by a `ConvMixFfn`."""

    name = "mix-ffn-layout"

    def run(self, model: SegFormer) -> PassResult:
        """Convert in place."""
        changed, notes = 0, []
        for name, block in model.named_modules():
            if not isinstance(block, Block):
                continue
            if isinstance(block.ffn, MixFfn):
                block.ffn = ConvMixFfn(block.ffn).eval()
                changed += 1
            else:
                notes.append(f"{name}: skipped, it is a {type(block.ffn).__name__} already")
        notes.append(f"{changed} blocks: transposes at width C instead of 4C")
        return PassResult(model, changed, tuple(notes))


def _pointwise(linear: nn.Linear) -> nn.Conv2d:
    """Return `linear` as a 1×1 convolution that shares its values."""
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    conv.weight = nn.Parameter(linear.weight.detach()[:, :, None, None].clone())
    conv.bias = nn.Parameter(linear.bias.detach().clone())
    return conv
