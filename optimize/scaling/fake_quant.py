"""INT8 simulated in torch: what rounding weights and activations does, before any runtime sees it.

Weights are rounded per output channel, activations per tensor, both symmetric with 255 levels
(−127 … 127), as TensorRT does. A quantized layer keeps its type and its name: its weight holds
rounded values, hooks round what goes in. Biases, norms, softmax and GELU stay in float.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...common.errors import InputError
from ...models.segformer import SegFormer

LEVELS = 127
_PRODUCT_OPERANDS = (".q", ".k", ".v", ".kv")  # their outputs enter a product of two activations

Layer = nn.Linear | nn.Conv2d


@dataclass(frozen=True)
class LayerRanges:
    """Largest |x| a layer's input (and the output of q, k, v) is quantized for, by its path."""

    inputs: dict[str, float]
    outputs: dict[str, float] = field(default_factory=dict)


def fake_quantize(x: Tensor, amax: float) -> Tensor:
    """Round `x` to 255 levels between −amax and amax, clipping beyond; `x` itself for amax 0."""
    if amax == 0:
        return x
    step = amax / LEVELS
    return (x / step).round().clamp(-LEVELS, LEVELS) * step


def weight_steps(weight: Tensor) -> Tensor:
    """Return the step per output channel (out) that puts its largest |w| on level 127."""
    largest = weight.detach().flatten(1).abs().amax(dim=1)
    return torch.where(largest > 0, largest, torch.ones_like(largest)) / LEVELS


def fake_quantize_weight(weight: Tensor) -> Tensor:
    """Round a (out,in,…) weight to 255 levels per output channel."""
    steps = weight_steps(weight).reshape(-1, *[1] * (weight.dim() - 1))
    return (weight / steps).round() * steps


def quantizable_layers(model: nn.Module) -> dict[str, Layer]:
    """Return every Linear and Conv2d by its path, in the model's order."""
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
    }


def layer_ranges(model: SegFormer, images: Iterable[NDArray[Any]]) -> LayerRanges:
    """Return max |x| of every layer's input, and of q, k, v as they enter their products.

    `images` are (B,3,H,W) float32 as the network reads them. Works before and after the rewrites.

    Raises:
        InputError: no image, pixels that are not float32, or NaN or infinity (names the layer).
    """
    inputs: dict[str, float] = {}
    outputs: dict[str, float] = {}
    handles = []
    for path, layer in quantizable_layers(model).items():
        handles.append(layer.register_forward_pre_hook(_record_input(inputs, path)))
        if path.endswith(_PRODUCT_OPERANDS):
            handles.append(layer.register_forward_hook(_record_output(outputs, path)))
    try:
        run_images(model, images)
    finally:
        for handle in handles:
            handle.remove()
    return LayerRanges(inputs, outputs)


def fake_quantize_model(
    model: SegFormer,
    ranges: LayerRanges,
    *,
    layers: Collection[str] | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> SegFormer:
    """Return a copy of `model` with the layers named in `ranges.inputs` quantized.

    `layers` restricts it to some of them (the sensitivity of a part). `weights` are rounded
    weights to use in place of the nearest ones, by path, from adaptive rounding.

    Raises:
        InputError: a path that is no Linear or Conv2d of the model.
    """
    changed = copy.deepcopy(model).eval()
    found = quantizable_layers(changed)
    chosen = [path for path in ranges.inputs if layers is None or path in layers]
    for path in (*chosen, *(layers or ()), *(weights or ())):
        if path not in found:
            raise InputError(
                f"Expected the path of a linear layer or convolution, but got {path!r}: "
                f"ranges belong to the model they were measured on."
            )
    for path in chosen:
        layer = found[path]
        rounded = (weights or {}).get(path)
        with torch.no_grad():
            layer.weight.copy_(fake_quantize_weight(layer.weight) if rounded is None else rounded)
        layer.register_forward_pre_hook(_round_input(ranges.inputs[path]))
        if path in ranges.outputs:
            layer.register_forward_hook(_round_output(ranges.outputs[path]))
    return changed


def run_images(model: SegFormer, images: Iterable[NDArray[Any]]) -> None:
    """Run `model` on each of `images` (B,3,H,W) float32 for the sake of its hooks.

    Raises:
        InputError: no image, or pixels that are not float32.
    """
    device, seen = next(model.parameters()).device, 0
    with torch.inference_mode():
        for pixels in images:
            if pixels.dtype != np.float32:
                raise InputError(
                    f"Expected normalised float32 pixels, but got {pixels.dtype}: use a contract "
                    f"with float32 input."
                )
            model(torch.from_numpy(pixels).to(device))
            seen += 1
    if not seen:
        raise InputError("Expected images to calibrate with, but got none.")


def _record_input(into: dict[str, float], path: str) -> Callable[..., None]:
    def record(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        _widen(into, path, inputs[0])

    return record


def _record_output(into: dict[str, float], path: str) -> Callable[..., None]:
    def record(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        _widen(into, path, output)

    return record


def _widen(into: dict[str, float], path: str, values: Tensor) -> None:
    largest = float(values.abs().max())
    if not math.isfinite(largest):
        raise InputError(
            f"Expected finite activations, but {path} has NaN or infinity: check the checkpoint "
            f"and the calibration images."
        )
    into[path] = max(into.get(path, 0.0), largest)


def _round_input(amax: float) -> Callable[..., tuple[Tensor, ...]]:
    def rounded(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (fake_quantize(inputs[0], amax), *inputs[1:])

    return rounded


def _round_output(amax: float) -> Callable[..., Tensor]:
    def rounded(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return fake_quantize(output, amax)

    return rounded
