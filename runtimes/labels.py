"""From what a model returns to a label map of the size somebody wants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from ..data.contract import Contract, OutputKind
from .cuda.labels import DeviceLogits
from .upsample_argmax import (
    Labels,
    dense_torch_upsample_argmax,
    label_dtype,
    upsample_argmax,
)

METHODS = ("sparse", "dense-torch", "gpu")


def labels_from_output(
    output: NDArray[Any] | DeviceLogits,
    contract: Contract,
    size_px: tuple[int, int],
    *,
    method: str = "sparse",
) -> Labels:
    """Return labels (B,H,W) at `size_px` from the output of a segmentation head.

    Logits (B,K,h,w), at 1/4 or at full size, are resized bilinearly as the contract says and
    the largest class wins, ties to the lowest; a one-class head compares with its threshold.
    Labels (B,h,w) or (B,1,h,w) are resized to the nearest.

    Args:
        output: what `Session.run` returned for the head; for "gpu" `run_keeping_logits`.
        contract: the artifact's contract.
        size_px: height and width wanted.
        method: "sparse" (exact and fast), "gpu" (the same labels, made on the device) or
            "dense-torch" (the baseline in benchmarks).

    Returns:
        uint8, or int32 for more than 256 classes.

    Raises:
        InputError: the output is not what the contract says, or the method is unknown.
    """
    if method not in METHODS:
        raise InputError(f"Expected a method of {', '.join(METHODS)}, but got {method!r}.")
    if isinstance(output, DeviceLogits):
        level = _checked_level(output.shape, contract)
        return output.labels(size_px, align_corners=contract.align_corners, level=level)
    if contract.output is OutputKind.LABELS:
        return resize_nearest(_checked_labels(output, contract), size_px)
    if method == "gpu":
        raise InputError(
            "Expected logits on the GPU, but they are in host memory: leave out --postprocess gpu."
        )
    logits = _with_background(output, _checked_level(output.shape, contract))
    label = upsample_argmax if method == "sparse" else dense_torch_upsample_argmax
    return label(logits, size_px, align_corners=contract.align_corners)


def _checked_level(shape: tuple[int, ...], contract: Contract) -> float | None:
    """Return the logit of the background where one class has a threshold; refuse a wrong shape.

    sigmoid(x) > t is x > log(t / (1 - t)), and a tie goes to class 0, the background.
    """
    threshold, level = contract.threshold, None
    if threshold is not None:
        if not 0 < threshold < 1:
            raise InputError(f"Expected a threshold between 0 and 1, but got {threshold}.")
        if len(shape) != 4 or shape[1] != 1:
            raise InputError(
                f"Expected logits of one class for a threshold, but got shape {shape}."
            )
        level = math.log(threshold / (1 - threshold))
    found = tuple(classes + (level is not None) for classes in shape[1:2])
    if contract.classes and found != (contract.num_classes,):
        raise InputError(
            f"Expected logits of {contract.num_classes} classes as the contract says, "
            f"but got shape {shape}: export again."
        )
    return level


def _with_background(output: NDArray[Any], level: float | None) -> NDArray[Any]:
    """Return the logits, with a constant class 0 in front where there is a level."""
    if level is None:
        return output
    return np.concatenate((np.full_like(output, level), output), axis=1)


def _checked_labels(output: NDArray[Any], contract: Contract) -> Labels:
    """Return labels (B,h,w) in the smallest type that holds the contract's classes."""
    maps = output[:, 0] if output.ndim == 4 and output.shape[1] == 1 else output
    if maps.ndim != 3 or maps.dtype.kind not in "iu":
        raise InputError(
            "Expected labels (batch, height, width) of integers as the contract says, "
            f"but got {output.dtype.name} of shape {output.shape}."
        )
    labels: Labels = maps.astype(label_dtype(contract.num_classes), copy=False)
    return labels


def resize_nearest(labels: Labels, size_px: tuple[int, int]) -> Labels:
    """Return a copy (B,h,w) at `size_px`, each pixel that of the input its centre falls in."""
    height, width = labels.shape[1:]
    if (height, width) == size_px:
        return np.array(labels)  # a copy: the output may be a runtime's own buffer
    rows = (2 * np.arange(size_px[0]) + 1) * height // (2 * size_px[0])
    columns = (2 * np.arange(size_px[1]) + 1) * width // (2 * size_px[1])
    resized: Labels = labels.take(rows, axis=1).take(columns, axis=2)
    return resized
