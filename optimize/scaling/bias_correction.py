"""Bias correction: give back the mean a layer lost by rounding.

Rounded weights and inputs shift the mean of a layer's output; where real images show by how
much, the bias takes it back (Nagel et al., arXiv 1906.04721, section 4.2). The error is measured
layer by layer on the inputs the quantized network really has, so that every correction answers
for its own layer only and all can be made at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...common.errors import InputError
from ...models.segformer import SegFormer
from .fake_quant import Layer, quantizable_layers, run_images


def corrected_biases(
    biases: Mapping[str, NDArray[Any] | None],
    reference_means: Mapping[str, NDArray[Any]],
    quantized_means: Mapping[str, NDArray[Any]],
) -> dict[str, NDArray[np.float32]]:
    """Return bias − (mean of quantized − mean of reference) per output channel, float32.

    All three are (out) per layer; None stands for a layer without a bias, which gets one. Only
    layers with both means are returned.

    Raises:
        InputError: shapes that differ, NaN or infinite means.
    """
    corrected = {}
    for path, bias in biases.items():
        if path not in reference_means or path not in quantized_means:
            continue
        wanted = np.asarray(reference_means[path], np.float64)
        got = np.asarray(quantized_means[path], np.float64)
        start = np.zeros_like(wanted) if bias is None else np.asarray(bias, np.float64)
        if not wanted.shape == got.shape == start.shape:
            raise InputError(
                f"Expected one mean per output channel at {path}, but got shapes "
                f"{start.shape} (bias), {wanted.shape} and {got.shape}."
            )
        if not np.isfinite(wanted - got).all():
            raise InputError(f"Expected finite mean outputs at {path}, but got NaN or infinity.")
        corrected[path] = (start + wanted - got).astype(np.float32)
    return corrected


def local_means(
    reference: SegFormer, quantized: SegFormer, images: Iterable[NDArray[Any]]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Return the mean output per channel (out) of every layer: as in `reference`, and quantized.

    Both see the input the layer has inside `quantized`, a fake-quantized copy of `reference`.
    """
    ours, theirs = quantizable_layers(reference), quantizable_layers(quantized)
    sums: dict[str, list[Tensor]] = {}
    handles = []
    for path, layer in theirs.items():
        compare = _Comparison(ours[path], sums.setdefault(path, []))
        # first before the hook that rounds the input, first behind the layer
        handles.append(layer.register_forward_pre_hook(compare.before, prepend=True))
        handles.append(layer.register_forward_hook(compare.after, prepend=True))
    try:
        run_images(quantized, images)
    finally:
        for handle in handles:
            handle.remove()
    means = {path: torch.stack(parts).mean(dim=0).numpy() for path, parts in sums.items() if parts}
    wanted = {path: pair[0] for path, pair in means.items()}
    return wanted, {path: pair[1] for path, pair in means.items()}


def correct_model(
    reference: SegFormer, quantized: SegFormer, images: Iterable[NDArray[Any]]
) -> dict[str, NDArray[np.float32]]:
    """Correct the biases of `quantized` in place and return them by layer.

    Set in the float model before its export (`set_biases`), they serve every runtime.
    """
    wanted, got = local_means(reference, quantized, images)
    biases: dict[str, NDArray[Any] | None] = {
        path: None if layer.bias is None else layer.bias.detach().cpu().numpy()
        for path, layer in quantizable_layers(quantized).items()
    }
    corrected = corrected_biases(biases, wanted, got)
    set_biases(quantized, corrected)
    return corrected


def set_biases(model: SegFormer, biases: Mapping[str, NDArray[np.float32]]) -> None:
    """Write (out) biases into the layers of `model`, in place; a layer without one gets one.

    Raises:
        InputError: a path that is no Linear or Conv2d of the model.
    """
    layers = quantizable_layers(model)
    for path, bias in biases.items():
        if path not in layers:
            raise InputError(f"Expected the path of a layer of the model, but got {path!r}.")
        layer = layers[path]
        layer.bias = nn.Parameter(torch.from_numpy(bias).to(layer.weight), requires_grad=False)


class _Comparison:
    """Hooks that run the reference layer on the raw input and note both mean outputs."""

    def __init__(self, reference: Layer, into: list[Tensor]) -> None:
        self.reference, self.into = reference, into
        self.raw: Tensor | None = None

    def before(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.raw = inputs[0]

    def after(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if self.raw is None:  # pragma: no cover - `before` always runs first
            return
        wanted = self.reference.forward(self.raw)
        mean = _channel_mean(self.reference)
        self.into.append(torch.stack([mean(wanted), mean(output)]))
        self.raw = None


def _channel_mean(layer: Layer) -> Callable[[Tensor], Tensor]:
    axes = (0, 2, 3) if isinstance(layer, nn.Conv2d) else (0, 1)
    return lambda output: output.double().mean(dim=axes)
