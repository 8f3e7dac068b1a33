"""The exact scaling passes a checkpoint gets before its export, measured on real images."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ...calibration.calibration_set import CalibrationSet
from ..passes import Pass

if TYPE_CHECKING:
    from ...models.checkpoints.checkpoint import Checkpoint
    from ...models.segformer import SegFormer

MAXIMA_IMAGES = 32  # images the greatest magnitudes are measured on
ALPHA_IMAGES = 2  # images every candidate scale is tried on


def scaling_passes(
    checkpoint: Checkpoint, calibration: CalibrationSet, precision: str, *, half: bool = False
) -> tuple[Pass, ...]:
    """Return the passes for `exact_rewrites(scaling=…)`.

    INT8 levels the channels by SmoothQuant with the best alpha per site, FP16 moves powers of two
    so that values fit. Where FP16 computes around INT8 both happen in this order: a power of two
    only touches channels that are still too large, and levelling afterwards could undo it.

    Args:
        checkpoint: left as it is.
        calibration: its contract must have normalised float32 input.
        precision: "fp16", or any INT8 one.
        half: FP16 computes around INT8.

    Raises:
        InputError: activations that are not finite.
    """
    from ...calibration.channel_maxima import channel_maxima
    from ..layer_norm import FoldLayerNorms
    from ..scaling.alpha import choose_alpha
    from ..scaling.equalize import EqualizeWeights
    from ..scaling.fp16 import FitFp16
    from ..scaling.smooth import SmoothScaling

    model: SegFormer = FoldLayerNorms().run(copy.deepcopy(checkpoint.model)).model.eval()
    first: Sequence[Pass] = () if precision == "fp16" else (EqualizeWeights(),)
    for item in first:
        model = item.run(model).model
    maxima = channel_maxima(model, itertools.islice(calibration.pixels(), MAXIMA_IMAGES))
    if precision == "fp16":
        return (FitFp16(maxima),)
    few: list[NDArray[Any]] = list(itertools.islice(calibration.pixels(), ALPHA_IMAGES))
    chosen = choose_alpha(model, maxima, few)
    alphas: dict[str, float | None] = dict.fromkeys(maxima)
    alphas |= {site: choice.alpha for site, choice in chosen.items()}
    smooth = SmoothScaling(maxima, alphas=alphas)
    if not half:
        return (*first, smooth)
    model = smooth.run(model).model
    maxima = channel_maxima(model, itertools.islice(calibration.pixels(), MAXIMA_IMAGES))
    return (*first, smooth, FitFp16(maxima))
