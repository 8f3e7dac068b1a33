"""SmoothQuant at every seam: the spread of the channels is shared by activation and weights.

Channel c of the activation is divided by s_c = max|x_c|^α / max|w_c|^(1−α) (Xiao et al., arXiv
2211.10438, equation 4), the weights that read it are multiplied by s_c; max|w_c| is taken over
all readers. α = 0.5 leaves both with equal ranges per channel. Depthwise filters have a scale of
their own per channel, so there the activation is levelled whole (α = 1). For the product of q
and k the "weight" is the other activation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ...common.errors import InputError
from ...models.segformer import SegFormer
from ..passes import PassResult
from .seams import Seam, find_seams

# no factor beyond 2^±24: a channel whose weights or activations are all zero would ask for 0 or ∞
LIMIT = 2.0**24
_SMALLEST_WEIGHT = 1e-5  # SmoothQuant's own floor: a channel nobody reads shrinks, but not to 0


class SmoothScaling:
    """Move the scale SmoothQuant asks for across every seam with known maxima; exact."""

    name = "smooth-scaling"

    def __init__(
        self,
        maxima: Mapping[str, Tensor],
        alpha: float = 0.5,
        *,
        alphas: Mapping[str, float | None] | None = None,
        power_of_two: bool = False,
    ) -> None:
        """Keep the (C) maxima of |x| per site, measured on the very model `run` will get.

        `alphas` overrides `alpha` per site; None leaves the site alone. With `power_of_two` the
        factors are rounded to powers of two, so that no mantissa changes.

        Raises:
            InputError: an alpha outside 0 … 1, or a maximum that is negative, NaN or infinite.
        """
        self.maxima, self.alpha = dict(maxima), alpha
        self.alphas, self.power_of_two = dict(alphas or {}), power_of_two
        for value in (alpha, *self.alphas.values()):
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"Expected an alpha of 0 to 1, but got {value}.")
        refuse_bad_maxima(self.maxima)

    def run(self, model: SegFormer) -> PassResult:
        """Scale in place."""
        seams, skipped = find_seams(model)
        changed, notes = 0, list(skipped)
        for seam in in_order(seams):
            known = activation_maxima(seam, self.maxima)
            alpha = self.alphas.get(seam.name, self.alpha)
            if known is None or alpha is None:
                continue
            divisor = smooth_divisor(seam, known, self.maxima, alpha)
            if divisor is None:
                continue
            if self.power_of_two:
                divisor = nearest_power_of_two(divisor)
            seam.divide(divisor)
            notes.append(describe(seam, known, divisor))
            changed += 1
        return PassResult(model, changed, tuple(notes))


def in_order(seams: Iterable[Seam]) -> list[Seam]:
    """Put the seams behind a LayerNorm last.

    The weights they reach have rows that other seams scale (those of v for v → proj): settled
    first, no outlier of a row decides about the columns.
    """
    return sorted(seams, key=lambda seam: seam.normed)


def refuse_bad_maxima(maxima: Mapping[str, Tensor]) -> None:
    """Raise InputError where a maximum is negative, NaN or infinite, with the site's name."""
    for site, values in maxima.items():
        if not bool(torch.isfinite(values).all()) or bool((values < 0).any()):
            raise InputError(
                f"Expected finite maxima of |x| at {site}, but got a negative, NaN or infinite "
                f"one: check the calibration images and the checkpoint."
            )


def activation_maxima(seam: Seam, maxima: Mapping[str, Tensor]) -> Tensor | None:
    """Return max |x| per channel (C, float64) at `seam`, or None where it is not known.

    Behind a BatchNorm it may be bounded from the maxima in front of it.

    Raises:
        InputError: another number of channels than the seam has.
    """
    known = maxima.get(seam.name)
    if known is None:
        source = maxima.get(seam.source)
        return None if source is None else _bound(seam, source.detach().double().cpu())
    if known.shape != (seam.channels,):
        raise InputError(
            f"Expected maxima of {seam.channels} channels at {seam.name}, "
            f"but got shape {tuple(known.shape)}: measure them on this model."
        )
    return known.detach().double().cpu()


def smooth_divisor(
    seam: Seam, known: Tensor, maxima: Mapping[str, Tensor], alpha: float
) -> Tensor | None:
    """Return s per channel (C, float64, positive) for `seam`, or None where nothing reads it."""
    if seam.partner:
        other = maxima.get(seam.partner)
        if other is None:
            return None
        weight = other.detach().double().cpu()
    elif not seam.consumers:
        return None
    else:
        weight = seam.weight_maxima().cpu()
    if seam.depthwise:
        alpha = 1.0
    divisor = known.pow(alpha) / weight.clamp(min=_SMALLEST_WEIGHT).pow(1 - alpha)
    divisor = divisor.clamp(1 / LIMIT, LIMIT)
    return torch.where(known > 0, divisor, torch.ones_like(divisor))


def nearest_power_of_two(values: Tensor) -> Tensor:
    """Round positive `values` to the nearest power of two (in the exponent)."""
    return torch.exp2(values.log2().round())


def spread(values: Tensor) -> float:
    """Return the largest over the median of the positive `values`; 1 where there is none."""
    positive = values[values > 0]
    return float(positive.max() / positive.median()) if len(positive) else 1.0


def describe(seam: Seam, known: Tensor, divisor: Tensor) -> str:
    """Return one line: what happened to the spread of the channels at `seam`."""
    return f"{seam.name}: max/median |x| {spread(known):.3g} → {spread(known / divisor):.3g}"


def _bound(seam: Seam, source: Tensor) -> Tensor | None:
    """Bound the BatchNorm's output, as its readers see it, by max |x| of its input."""
    norm = seam.norm
    if norm is None or norm.running_mean is None or norm.running_var is None:
        return None
    gain = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    shift = norm.bias.detach().double() - gain * norm.running_mean.double()
    if seam.after_relu:  # its input lies in 0 … source, nothing cuts its output
        return torch.maximum(shift.abs(), (gain * source + shift).abs())
    return (gain.abs() * source + shift).clamp(min=0)  # a ReLU follows
