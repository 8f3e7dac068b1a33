"""Power-of-two rescaling for FP16: bring activations under the largest half-precision number.

FP16 ends at 65504. A channel whose max |x| passes an eighth of that is divided by a power of two
and its readers are multiplied by it: no mantissa changes, the network computes the same. The
eighth leaves room for images the calibration has not seen and for partial sums.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...models.segformer import SegFormer
from ..passes import PassResult
from .seams import Seam, find_seams
from .smooth import activation_maxima, refuse_bad_maxima

FP16_MAX = 65504.0
FP16_SMALLEST_NORMAL = 2.0**-14
HEADROOM = 8.0
_TINY = 2.0**-100  # stands for 0 under a logarithm


class FitFp16:
    """Rescale by powers of two so that every listed site stays below 65504 / 8; exact."""

    name = "fit-fp16"

    def __init__(self, maxima: Mapping[str, Tensor], *, headroom: float = HEADROOM) -> None:
        """Keep the (C) maxima of |x| per site, measured on the very model `run` will get.

        Raises:
            InputError: a maximum that is negative, NaN or infinite.
        """
        self.maxima, self.limit = dict(maxima), FP16_MAX / headroom
        refuse_bad_maxima(self.maxima)

    def run(self, model: SegFormer) -> PassResult:
        """Rescale in place; the notes name every site over the limit and what became of it."""
        seams, skipped = find_seams(model)
        # all bounds first: a scale in front of a BatchNorm changes the bound behind it
        known = [(seam, activation_maxima(seam, self.maxima)) for seam in seams]
        judged = {site for seam, values in known if values is not None for site in _names(seam)}
        changed, notes = 0, list(skipped)
        for seam, values in known:
            if values is None:
                continue
            divisor, left = self._divisor(seam, values)
            notes += left
            if bool((divisor != 1).any()):
                seam.divide(divisor)
                notes.append(_describe(seam, values, divisor))
                notes += _risks(seam)
                changed += 1
        notes += [self._stuck(site) for site in self.maxima if self._is_stuck(site, judged)]
        return PassResult(model, changed, tuple(notes))

    def _divisor(self, seam: Seam, known: Tensor) -> tuple[Tensor, list[str]]:
        """Return a power of two per channel, nearest to 1, and a note where none is enough."""
        lowest = power_of_two_above(known / self.limit)
        other = self.maxima.get(seam.partner)
        if other is None:
            return lowest.clamp(min=1.0), []
        highest = power_of_two_below(self.limit / other.detach().double().cpu().clamp(min=_TINY))
        divisor = torch.maximum(lowest, highest.clamp(max=1.0))
        hopeless = lowest > highest  # q too large to be divided by what k can take
        if not bool(hopeless.any()):
            return divisor, []
        note = (
            f"{seam.name} and {seam.partner}: {int(hopeless.sum())} channels cannot both stay "
            f"below {self.limit:.3g}: keep the product in FP32"
        )
        return torch.where(hopeless, torch.ones_like(divisor), divisor), [note]

    def _is_stuck(self, site: str, judged: set[str]) -> bool:
        return site not in judged and float(self.maxima[site].max()) > self.limit

    def _stuck(self, site: str) -> str:
        return (
            f"{site}: max |x| {float(self.maxima[site].max()):.3g} stays over {self.limit:.3g}, "
            f"no scale can move past it: keep it in FP32"
        )


def fit_fp16(model: SegFormer, maxima: Mapping[str, Tensor]) -> PassResult:
    """Run `FitFp16` on `model`, in place."""
    return FitFp16(maxima).run(model)


def _names(seam: Seam) -> tuple[str, str]:
    return seam.name, seam.partner


def power_of_two_above(ratio: Tensor) -> Tensor:
    """Return the smallest power of two ≥ `ratio` (not negative)."""
    return torch.exp2(ratio.clamp(min=_TINY).log2().ceil())


def power_of_two_below(ratio: Tensor) -> Tensor:
    """Return the largest power of two ≤ `ratio` (positive)."""
    return torch.exp2(ratio.log2().floor())


def _describe(seam: Seam, known: Tensor, divisor: Tensor) -> str:
    count = int((divisor != 1).sum())
    after = float((known / divisor).max())
    return (
        f"{seam.name}: {count} channels by powers of two, max |x| {known.max():.3g} → {after:.3g}"
    )


def _risks(seam: Seam) -> list[str]:
    """Say where a weight left the range of FP16 because its activation came into it."""
    notes = []
    for slot in (*seam.above, *seam.below):
        largest = slot.maxima(seam.channels)
        if float(largest.max()) > FP16_MAX:
            notes.append(f"{slot.path}.{slot.tensor}: max |w| {largest.max():.3g} passes FP16")
        small = (largest > 0) & (largest < FP16_SMALLEST_NORMAL)
        if slot.tensor == "weight" and bool(small.any()):
            notes.append(
                f"{slot.path}.{slot.tensor}: {int(small.sum())} channels subnormal in FP16"
            )
    return notes
