"""Predictions where the sparse arg-max is not enough: sliding windows and the mirrored image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from ..data.contract import Contract, OutputKind
from ..runtimes.interpolation import resize_bilinear
from ..runtimes.labels import labels_from_output
from ..runtimes.upsample_argmax import Labels, label_dtype
from .windows import Fields

Array = NDArray[Any]
Floats = NDArray[np.float32]


def decide(
    ways: Sequence[Floats],
    contract: Contract,
    size_px: tuple[int, int],
    *,
    method: str = "sparse",
) -> Labels:
    """Return labels (H,W) at `size_px` from logits (K,h,w), one or two ways to see the image.

    Logits are resized bilinearly first. Two ways are averaged as probabilities, softmax over the
    classes, ties to the lowest one; a one-class head averages its sigmoids and compares with its
    threshold. `method` is that of `labels_from_output`, for one way.

    Raises:
        InputError: NaN or infinity among the logits, or not as many classes as the contract says.
    """
    if len(ways) == 1:
        full = replace(contract, output=OutputKind.LOGITS_FULL)
        return np.asarray(labels_from_output(ways[0][None], full, size_px, method=method)[0])
    _refuse_unusable(ways, contract)
    resized = [resize_bilinear(way, size_px, contract.align_corners) for way in ways]
    if contract.threshold is not None:
        mean = np.mean([_sigmoid(field[0]) for field in resized], axis=0)
        return np.asarray(mean > contract.threshold).astype(np.uint8)
    total = sum((softmax(field) for field in resized[1:]), start=softmax(resized[0]))
    labels: Labels = np.asarray(total).argmax(axis=0).astype(label_dtype(len(resized[0])))
    return labels


def _sigmoid(logits: Floats) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    return np.asarray(np.where(wide >= 0, 1.0, np.exp(-np.abs(wide))) / (1 + np.exp(-np.abs(wide))))


def softmax(logits: Floats) -> Floats:
    """Return the softmax over axis 0 of finite logits (K,H,W), float32."""
    result: Floats = np.exp(logits - logits.max(axis=0))
    result /= result.sum(axis=0)
    return result


def mirrored(predict: Callable[[Array], Fields], pixels: Array) -> Fields:
    """Return the fields (C,H,W) of the mirrored image (1,3,H,W), mirrored back."""
    found = predict(np.ascontiguousarray(pixels[..., ::-1]))
    return {head: field[..., ::-1] for head, field in found.items()}


def _refuse_unusable(ways: Sequence[Floats], contract: Contract) -> None:
    wanted = 1 if contract.threshold is not None else contract.num_classes
    if contract.classes and len(ways[0]) != wanted:
        raise InputError(
            f"Expected logits of {wanted} classes as the contract says, but got "
            f"{len(ways[0])}: export again."
        )
    if not all(np.isfinite(field).all() for field in ways):
        raise InputError(
            "Expected finite logits, but got NaN or infinity: the model overflowed, "
            "try a wider precision."
        )
