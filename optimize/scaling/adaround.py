"""Adaptive rounding: round a weight up or down by what that does to the layer's output.

Nearest rounding minimises the error of each weight, not of the output. With G = Σ x xᵀ over
calibration inputs x and e the row of rounding errors, the output's squared error is e G eᵀ, a
quadratic problem over "up" or "down" per weight (Nagel et al., arXiv 2004.10568, section 3). It
is solved by descent: turn in every row the weight that gains most, until none gains. One start
is nearest rounding; the other rounds column by column and lets the columns to come make up for
the error (Frantar et al., arXiv 2210.17323). The better end counts, row by row: the error is
never above that of nearest rounding, nothing is random, and G is all that is kept of the images.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...common.errors import InputError
from ...models.segformer import SegFormer
from .fake_quant import LEVELS, Layer, quantizable_layers, run_images, weight_steps

MAX_TURNS = 4  # weights turned per row at most, as a multiple of the row's length
_DAMPING = 0.01  # of the mean diagonal of G, which may be singular; GPTQ's value
_LEAST_GAIN = 1e-12  # of the largest possible one; below lies float64 rounding


def adaptive_round(weight: Tensor, gram: Tensor, steps: Tensor | None = None) -> Tensor:
    """Return `weight` (out,in) or (out,in,1,1) on the int8 grid of its rows, rounded for `gram`.

    `gram` is Σ x xᵀ (in,in) of the layer's inputs. `steps` (out,) are those of the grid; None puts
    the largest |w| of a row on level 127. The largest is rounded to nearest, so that a quantizer
    that takes its scale from the largest weight finds the same grid.

    Raises:
        InputError: a Gram matrix of another size.
    """
    matrix = weight.detach().double().flatten(1)
    if gram.shape != (matrix.shape[1], matrix.shape[1]) or matrix.numel() != weight.numel():
        raise InputError(
            f"Expected a 1×1 layer and a Gram matrix of its {matrix.shape[1]} inputs, but got "
            f"{tuple(weight.shape)} and {tuple(gram.shape)}."
        )
    grid = (weight_steps(matrix) if steps is None else steps.double())[:, None]
    exact = matrix / grid
    gram = gram.double()
    nearest = exact.round().clamp(-LEVELS, LEVELS)
    ends = [_descend(exact, start, gram) for start in (nearest, _feedback(exact, nearest, gram))]
    costs = torch.stack([_cost(levels - exact, gram) for levels in ends])
    levels = torch.where((costs[0] <= costs[1])[:, None], ends[0], ends[1])
    return (levels * grid).to(weight.dtype).reshape(weight.shape)


def collect_grams(
    model: SegFormer, images: Iterable[NDArray[Any]], layers: Collection[str] | None = None
) -> dict[str, Tensor]:
    """Return Σ x xᵀ (in,in) float64 of every Linear and 1×1 convolution (or of `layers`)."""
    grams: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_pre_hook(_add_gram(grams, path))
        for path, layer in quantizable_layers(model).items()
        if is_pointwise(layer) and (layers is None or path in layers)
    ]
    try:
        run_images(model, images)
    finally:
        for handle in handles:
            handle.remove()
    return grams


def round_model(model: SegFormer, grams: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the adaptively rounded weight of every layer in `grams`.

    They go to `fake_quantize_model(weights=…)`, or into the float model before its export.
    """
    layers = quantizable_layers(model)
    return {path: adaptive_round(layers[path].weight, gram) for path, gram in grams.items()}


def is_pointwise(layer: Layer) -> bool:
    """True for a linear layer and for a 1×1 convolution in one group."""
    return isinstance(layer, nn.Linear) or (layer.kernel_size == (1, 1) and layer.groups == 1)


def _add_gram(into: dict[str, Tensor], path: str) -> Callable[..., None]:
    def add(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        rows = x.flatten(0, -2) if isinstance(module, nn.Linear) else x.movedim(1, -1).flatten(0, 2)
        product = (rows.mT @ rows).double()
        into[path] = into[path] + product if path in into else product

    return add


def _feedback(exact: Tensor, nearest: Tensor, gram: Tensor) -> Tensor:
    """Round column by column to a neighbour; what is left to do takes the error over."""
    size = len(gram)
    damping = _DAMPING * gram.diagonal().mean().clamp(min=1e-30)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram + damping * torch.eye(size)))
    factor = torch.linalg.cholesky(inverse, upper=True)
    wanted, levels = exact.clone(), nearest.clone()
    fixed = _largest(exact)
    for column in range(size):
        low = exact[:, column].floor().clamp(min=-LEVELS)
        high = exact[:, column].ceil().clamp(max=LEVELS)
        near = torch.minimum(torch.maximum(wanted[:, column].round(), low), high)
        levels[:, column] = torch.where(fixed[:, column], levels[:, column], near)
        error = (wanted[:, column] - levels[:, column]) / factor[column, column]
        wanted[:, column + 1 :] -= error[:, None] * factor[column, column + 1 :]
    return levels


def _largest(exact: Tensor) -> Tensor:
    """True for the largest |w| of each row, which stays where it is."""
    return exact.abs() >= exact.abs().amax(dim=1, keepdim=True)


def _cost(error: Tensor, gram: Tensor) -> Tensor:
    """e G eᵀ per row."""
    return ((error @ gram) * error).sum(dim=1)


def _descend(exact: Tensor, levels: Tensor, gram: Tensor) -> Tensor:
    """Turn weights between floor and ceiling while e G eᵀ falls; rows are independent."""
    fixed = _largest(exact)
    error = levels - exact
    pull = error @ gram  # half the gradient
    rows = torch.arange(len(exact))
    for _ in range(MAX_TURNS * exact.shape[1]):
        turn = torch.where(error > 0, -1.0, 1.0).double()  # to the other neighbour
        gain = 2 * turn * pull + gram.diagonal()  # change of e G eᵀ per weight
        gain.masked_fill_(fixed | ((levels + turn).abs() > LEVELS), torch.inf)
        value, best = gain.min(dim=1)
        active = value < -_LEAST_GAIN * gram.diagonal().amax()
        if not bool(active.any()):
            break
        step = torch.where(active, turn[rows, best], 0.0)
        levels[rows, best] += step
        error[rows, best] += step
        pull += step[:, None] * gram[best]
    return levels
