"""Models and measurements the tests of optimize/scaling share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segship.models.segformer import SegFormer
from segship.models.spec import HeadKind, HeadSpec, ModelSpec
from segship.optimize.scaling.seams import find_seams

HEAD = HeadSpec(classes=5, width=16)
TINY = ModelSpec(
    widths=(8, 16, 24, 32), depths=(1, 1, 1, 1), attention_heads=(1, 2, 3, 4), heads=(HEAD,)
)
BRANCH = replace(HEAD, kind=HeadKind.BRANCH_RELU, fuse_bias=True)
LATE = replace(HEAD, norm_after_relu=True, fuse_bias=True, align_corners=True)
SPECS = {
    "linear": TINY,
    "branch-relu": replace(TINY, heads=(BRANCH,)),
    "norm-after-relu": replace(TINY, heads=(LATE,)),
    "branch-relu-norm-after-relu": replace(TINY, heads=(replace(BRANCH, norm_after_relu=True),)),
    "two-heads": replace(
        TINY, heads=(BRANCH, replace(LATE, name="depth", classes=1, width=8)), sr_at_ratio_1=True
    ),
}
# odd sizes in a batch of two; cells that do not fill a patch
SHAPES = ((2, 3, 75, 133), (1, 3, 32, 33))


def busy_model(spec: ModelSpec, seed: int = 0) -> SegFormer:
    """A model whose every parameter and BN statistic matters."""
    torch.manual_seed(seed)
    model = SegFormer(spec).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    for key, buffer in model.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_(0, 0.5)
        if key.endswith("running_var"):
            buffer.uniform_(0.2, 3)
    return model


def inputs(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Noise at odd sizes, a flat image, zeros, and values far outside the normalised range."""
    torch.manual_seed(11)
    noise = [torch.randn(shape) for shape in SHAPES]
    flat = torch.full(SHAPES[0], 2.6)
    return [x.to(dtype) for x in (*noise, flat, torch.zeros(SHAPES[1]), 50 * noise[0])]


def worst(model: nn.Module, other: nn.Module, pixels: Sequence[Tensor]) -> float:
    """Largest difference over the largest reference value, over all heads and inputs."""
    found = 0.0
    for item in pixels:
        with torch.inference_mode():
            expected, got = model(item), other(item)
        assert expected.keys() == got.keys()
        for key, value in expected.items():
            found = max(found, float((value - got[key]).abs().max() / value.abs().max()))
    return found


def images(count: int = 3, seed: int = 5) -> list[NDArray[np.float32]]:
    """Calibration images (1,3,64,96)."""
    random = np.random.default_rng(seed)
    return [random.normal(size=(1, 3, 64, 96)).astype(np.float32) for _ in range(count)]


def site_maxima(model: SegFormer, pixels: Sequence[NDArray[np.float32]]) -> dict[str, Tensor]:
    """Max |x| per channel (C) of every site, found apart from the calibration room."""
    names = {site for seam in find_seams(model)[0] for site in (seam.name, seam.partner) if site}
    outputs: dict[str, list[Tensor]] = {name: [] for name in names}
    handles = [
        module.register_forward_hook(lambda _m, _a, out, name=name: outputs[name].append(out))
        for name, module in model.named_modules()
        if name in names
    ]
    dtype = next(model.parameters()).dtype
    with torch.inference_mode():
        for item in pixels:
            model(torch.from_numpy(item).to(dtype))
    for handle in handles:
        handle.remove()
    return {
        name: torch.stack(
            [out.abs().amax(dim=(0, 2, 3) if out.dim() == 4 else (0, 1)) for out in o]
        )
        .amax(dim=0)
        .clone()
        for name, o in outputs.items()
    }


def sqnr_db(reference: SegFormer, other: SegFormer, pixels: Sequence[NDArray[np.float32]]) -> float:
    """Signal over noise of the first head's output, in dB."""
    signal = noise = 0.0
    for item in pixels:
        with torch.inference_mode():
            expected, got = reference(torch.from_numpy(item)), other(torch.from_numpy(item))
        name = next(iter(expected))
        signal += float(expected[name].double().square().sum())
        noise += float((expected[name] - got[name]).double().square().sum())
    return 10 * math.log10(signal / noise)
