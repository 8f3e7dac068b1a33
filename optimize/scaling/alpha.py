"""The alpha of SmoothQuant per site, chosen by the error of the site's own products.

For each candidate the inputs and weights of the site's readers are scaled, rounded to int8
(weights per output channel, activations per tensor, both symmetric) and multiplied; the
noise against the float product decides. Leaving the site alone is a candidate too, and wins
unless another is better by `LEAST_GAIN_DB`: a scale that helps nothing is not moved.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...models.segformer import Attention, SegFormer
from .fake_quant import fake_quantize, fake_quantize_weight, run_images
from .seams import Seam, Slot, find_seams
from .smooth import SmoothScaling, activation_maxima, smooth_divisor

ALPHAS = (0.3, 0.5, 0.7, 0.85, 1.0)
LEAST_GAIN_DB = 0.5


@dataclass(frozen=True)
class AlphaChoice:
    """The alpha of one site (None: leave it alone) and signal-to-noise in dB per candidate."""

    site: str
    alpha: float | None
    sqnr_db: dict[float | None, float]


@dataclass
class _Trial:
    """One candidate at one site, with the noise-to-signal ratios of its readers so far."""

    alpha: float | None
    divisor: Tensor
    amax: float
    other_amax: float = 0.0  # of the partner, for a product of two activations
    noise: float = 0.0
    signal: float = 0.0


@dataclass
class _Site:
    seam: Seam
    trials: list[_Trial] = field(default_factory=list)
    query: Tensor | None = None


def choose_alpha(
    model: SegFormer,
    maxima: Mapping[str, Tensor],
    images: Sequence[NDArray[Any]],
    *,
    alphas: Sequence[float] = ALPHAS,
) -> dict[str, AlphaChoice]:
    """Return the best alpha per site for `SmoothScaling(maxima, alphas=…)`.

    `images` are (B,3,H,W) float32 as the network reads them; a few suffice, each is run twice:
    the sites behind a LayerNorm are judged with the scales of the others in place. `maxima` are
    max |x| per channel (C) of this model's sites.

    Raises:
        InputError: no image, pixels that are not float32, or maxima of another model.
    """
    choices = _judge(model, maxima, images, alphas, normed=False)
    alone: dict[str, float | None] = dict.fromkeys(maxima)
    settled = alone | {site: choice.alpha for site, choice in choices.items()}
    scaled = SmoothScaling(maxima, alphas=settled).run(copy.deepcopy(model)).model
    return choices | _judge(scaled, maxima, images, alphas, normed=True)


def _judge(
    model: SegFormer,
    maxima: Mapping[str, Tensor],
    images: Sequence[NDArray[Any]],
    alphas: Sequence[float],
    *,
    normed: bool,
) -> dict[str, AlphaChoice]:
    seams = [seam for seam in find_seams(model)[0] if seam.normed == normed]
    sites = [site for seam in seams if (site := _site(seam, maxima, alphas))]
    modules = dict(model.named_modules())
    handles = [handle for site in sites for handle in _watch(site, modules)]
    try:
        run_images(model, images)
    finally:
        for handle in handles:
            handle.remove()
    return {site.seam.name: _choice(site) for site in sites}


def _site(seam: Seam, maxima: Mapping[str, Tensor], alphas: Sequence[float]) -> _Site | None:
    known = activation_maxima(seam, maxima)
    if known is None:
        return None
    site = _Site(seam)
    other = maxima.get(seam.partner)
    for alpha in (None, *((1.0,) if seam.depthwise else alphas)):
        divisor: Tensor | None = torch.ones_like(known)
        if alpha is not None:
            divisor = smooth_divisor(seam, known, maxima, alpha)
        if divisor is None:
            return None
        trial = _Trial(alpha, divisor.float(), float((known / divisor).max()))
        if other is not None:
            trial.other_amax = float((other.detach().double().cpu() * divisor).max())
        site.trials.append(trial)
    return site if seam.consumers or seam.partner else None


def _watch(site: _Site, modules: Mapping[str, nn.Module]) -> list[Any]:
    """Hook every product the site feeds; return the handles."""
    seam, attention = site.seam, site.seam.attention
    if attention is None:
        return [
            slot.module.register_forward_pre_hook(_reader_hook(site, slot))
            for slot in seam.consumers
        ]

    def keep_query(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        site.query = output

    def judge(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if site.query is not None:
            _judge_scores(site, attention, site.query, output)
            site.query = None

    return [
        modules[seam.name].register_forward_hook(keep_query),
        modules[seam.partner].register_forward_hook(judge),
    ]


def _reader_hook(site: _Site, slot: Slot) -> Callable[[nn.Module, Any], None]:
    weight, channels = slot.value, site.seam.channels
    if slot.dim == 1:
        weight = weight.narrow(1, slot.start, channels)

    def judge(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        axis = -1 if isinstance(module, nn.Linear) else 1
        x = inputs[0].narrow(axis, slot.start, channels)
        exact = _product(module, x, weight)
        power = float(exact.double().square().sum()) or 1.0
        for trial in site.trials:
            shape = [1] * x.dim()
            shape[axis] = -1
            scaled = fake_quantize(x / trial.divisor.reshape(shape), trial.amax)
            turned = [1] * weight.dim()
            turned[slot.dim] = -1
            rounded = fake_quantize_weight(weight * trial.divisor.reshape(turned))
            error = _product(module, scaled, rounded) - exact
            trial.noise += float(error.double().square().sum()) / power
            trial.signal += 1.0

    return judge


def _product(module: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    """The layer's product without its bias."""
    if isinstance(module, nn.Conv2d):
        return functional.conv2d(
            x, weight, None, module.stride, module.padding, module.dilation, module.groups
        )
    return functional.linear(x, weight)


def _judge_scores(site: _Site, attention: Attention, query: Tensor, key: Tensor) -> None:
    exact = attention.split_heads(query) @ attention.split_heads(key).transpose(-1, -2)
    power = float(exact.double().square().sum()) or 1.0
    for trial in site.trials:
        left = fake_quantize(query / trial.divisor, trial.amax)
        right = fake_quantize(key * trial.divisor, trial.other_amax)
        product = attention.split_heads(left) @ attention.split_heads(right).transpose(-1, -2)
        trial.noise += float((product - exact).double().square().sum()) / power
        trial.signal += 1.0


def _choice(site: _Site) -> AlphaChoice:
    levels = {t.alpha: _decibel(t.noise / max(t.signal, 1.0)) for t in site.trials}
    best = max(levels, key=lambda alpha: levels[alpha])
    if levels[best] < levels[None] + LEAST_GAIN_DB:
        best = None
    return AlphaChoice(site.seam.name, best, levels)


def _decibel(ratio: float) -> float:
    """Noise over signal as a signal-to-noise ratio in dB; 200 stands for no noise."""
    return 200.0 if ratio <= 1e-20 else -10 * math.log10(ratio)
