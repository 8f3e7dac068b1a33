"""Cross-layer equalization: level the ranges of two layers' weights, without any data.

With r1_c the largest |w| of the row that makes channel c and r2_c that of the column that reads
it, s_c = √(r1_c / r2_c) leaves both at √(r1_c·r2_c) (Nagel et al., arXiv 1906.04721, section
4.1). It holds through linear maps and ReLU: fc1 → depthwise, v → proj, q ↔ k, fuse with its
BatchNorm → classifier.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...models.segformer import SegFormer
from ..passes import PassResult
from .seams import Seam, find_seams
from .smooth import LIMIT, nearest_power_of_two, spread

_SITES = (".ffn.fc1", ".attn.v", ".attn.q", ".bn")


class EqualizeWeights:
    """Equalize the weights on both sides of the seams between two layers; exact."""

    name = "equalize-weights"

    def __init__(self, *, power_of_two: bool = False) -> None:
        """With `power_of_two` the factors are powers of two, so that no mantissa changes."""
        self.power_of_two = power_of_two

    def run(self, model: SegFormer) -> PassResult:
        """Equalize in place."""
        seams, skipped = find_seams(model)
        by_name = {seam.name: seam for seam in seams}
        changed, notes = 0, list(skipped)
        for seam in seams:
            if not seam.name.endswith(_SITES):
                continue
            first, second = _made(seam, by_name), _read(seam)
            divisor = _divisor(first, second)
            if self.power_of_two:
                divisor = nearest_power_of_two(divisor)
            seam.divide(divisor)
            after = spread(first / divisor), spread(second * divisor)
            notes.append(
                f"{seam.name}: max/median |w| {spread(first):.3g} and {spread(second):.3g} "
                f"→ {after[0]:.3g} and {after[1]:.3g}"
            )
            changed += 1
        return PassResult(model, changed, tuple(notes))


def _divisor(first: Tensor, second: Tensor) -> Tensor:
    """√(r1/r2) per channel; 1 where either side is all zero."""
    both = (first > 0) & (second > 0)
    ratio = torch.where(both, first, torch.ones_like(first))
    ratio = ratio / torch.where(both, second, torch.ones_like(second))
    return ratio.sqrt().clamp(1 / LIMIT, LIMIT)


def _made(seam: Seam, by_name: dict[str, Seam]) -> Tensor:
    """Return max |w| per row of what makes the channels; the BatchNorm counts as part of it."""
    rows = seam.above[0].maxima(seam.channels)
    norm = seam.norm
    if norm is None or norm.running_var is None:
        return rows
    variance = norm.running_var.double() + norm.eps
    return rows / variance.sqrt() * by_name[seam.source].above[0].maxima(seam.channels)


def _read(seam: Seam) -> Tensor:
    return seam.weight_maxima() if seam.consumers else seam.below[0].maxima(seam.channels)
