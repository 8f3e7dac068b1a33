"""The head fold, kind by kind: the algebra in float64, the result in float32, the cost."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from segship.data.contract import IMAGENET_MEAN, IMAGENET_STD
from segship.models.inspect import inspect_model
from segship.models.segformer import SegFormer
from segship.models.spec import HeadKind, HeadSpec, ModelSpec
from segship.optimize.exact import exact_rewrites
from segship.optimize.head_fold import FoldedHead, FoldHeads
from segship.optimize.passes import Pipeline

HEAD = HeadSpec(classes=5, width=16)
BRANCH = replace(HEAD, kind=HeadKind.BRANCH_RELU)
LATE = replace(HEAD, norm_after_relu=True)
HEADS: dict[str, tuple[HeadSpec, ...]] = {
    "linear": (HEAD,),
    "fuse-bias": (replace(HEAD, fuse_bias=True),),
    "align-corners": (replace(HEAD, align_corners=True),),
    "branch-relu": (BRANCH,),
    "branch-relu-align-corners-bias": (replace(BRANCH, align_corners=True, fuse_bias=True),),
    "norm-after-relu": (LATE,),
    "norm-after-relu-align-corners-bias": (replace(LATE, align_corners=True, fuse_bias=True),),
    "branch-relu-norm-after-relu": (replace(BRANCH, norm_after_relu=True, fuse_bias=True),),
    "two-heads": (HEAD, HeadSpec("depth", classes=1, width=8)),
    "two-unlike-heads": (BRANCH, replace(LATE, name="depth", classes=1, align_corners=True)),
}
SINGLE = 1e-5  # float32 sums in another order; one wrong factor changes the output by over 1e-2
DOUBLE = 1e-12  # the same sums in float64: what is left is rounding, so the algebra is right


def _model(name: str, *, huge: bool = False) -> SegFormer:
    """A model whose every parameter and BN statistic matters; `huge` scales the logits by 1e4."""
    torch.manual_seed(3)
    spec = ModelSpec(
        widths=(8, 16, 24, 32),
        depths=(1, 1, 1, 1),
        attention_heads=(1, 2, 3, 4),
        heads=HEADS[name],
    )
    model = SegFormer(spec).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    for key, buffer in model.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_(0, 0.5)
        if key.endswith("running_var"):
            buffer.uniform_(0.2, 3)
    if huge:
        for head in model.heads.values():
            head.get_parameter("classifier.weight").mul_(1e4)
    return model


def _flat(value: int) -> Tensor:
    """(2,3,75,133) of one raw value, normalised."""
    pixels = torch.full((2, 3, 75, 133), value / 255)
    mean, std = (torch.tensor(part).reshape(1, 3, 1, 1) for part in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels - mean) / std


INPUTS: dict[str, Callable[[], Tensor]] = {
    "noise": lambda: torch.randn(2, 3, 75, 133),
    "black": lambda: _flat(0),
    "white": lambda: _flat(255),
    "zeros": lambda: torch.zeros(2, 3, 75, 133),
    "one-cell": lambda: torch.randn(2, 3, 32, 33),
}


def _worst(model: SegFormer, other: SegFormer, pixels: Tensor) -> float:
    """Largest difference over the largest reference value, over all heads."""
    with torch.inference_mode():
        expected, got = model(pixels), other(pixels)
    assert expected.keys() == got.keys()
    return max(
        float((expected[key] - got[key]).abs().max() / expected[key].abs().max())
        for key in expected
    )


def _folded(model: SegFormer) -> SegFormer:
    result = Pipeline([FoldHeads()]).run(model)
    assert result.changed == len(model.heads)
    assert all(isinstance(head, FoldedHead) for head in result.model.heads.values())
    return result.model


@pytest.mark.parametrize("huge", [False, True], ids=["", "huge-logits"])
@pytest.mark.parametrize("name", HEADS)
def test_the_folded_head_equals_the_original(name: str, huge: bool) -> None:
    model = _model(name, huge=huge)
    folded = _folded(model)
    for kind, pixels in INPUTS.items():
        assert _worst(model, folded, pixels()) <= SINGLE, kind


@pytest.mark.parametrize("name", HEADS)
def test_the_algebra_holds_in_float64(name: str) -> None:
    model = copy.deepcopy(_model(name)).double()
    folded = _folded(model)
    assert {item.dtype for item in folded.parameters()} == {torch.float64}
    everything = exact_rewrites().run(model).model
    for kind, pixels in INPUTS.items():
        assert _worst(model, folded, pixels().double()) <= DOUBLE, kind
        assert _worst(model, everything, pixels().double()) <= DOUBLE, kind


@pytest.mark.parametrize("name", HEADS)
def test_every_tensor_of_the_head_enters_the_fold(name: str) -> None:
    """The checks above must be able to fail: no tensor may be forgotten or counted for nothing."""
    model = _model(name)
    pixels = torch.randn(1, 3, 64, 64)
    state = model.state_dict()
    tensors = [
        key for key in state if key.startswith("heads.") and not key.endswith("batches_tracked")
    ]
    for key in tensors:
        changed = copy.deepcopy(model)
        changed.state_dict()[key].mul_(1.5)
        refolded = _folded(changed)
        assert _worst(model, refolded, pixels) > 1e-4, key
        assert _worst(changed, refolded, pixels) <= SINGLE, key


def test_a_branch_relu_fold_saves_the_fuse_and_nothing_else() -> None:
    model = _model("branch-relu")
    height, width, head_width = 64, 96, BRANCH.width
    before = inspect_model(model, (height, width))
    after = inspect_model(_folded(model), (height, width))
    cells = [height * width // (4 << stage) ** 2 for stage in range(4)]
    fuse_before = 4 * head_width**2 * cells[0]
    fuse_after = head_width**2 * sum(cells)
    saved = (before.gmacs - after.gmacs) * 1e9
    assert saved == pytest.approx(fuse_before - fuse_after, rel=1e-9)  # float sums of integers
    parts = {part.name: part for part in after.parts}
    assert parts["head segmentation folded stages"].gmacs * 1e9 == pytest.approx(fuse_after)
    projected = sum(
        width_in * head_width * count
        for width_in, count in zip(model.spec.widths, cells, strict=True)
    )
    assert parts["head segmentation project"].gmacs * 1e9 == pytest.approx(projected)


def test_a_linear_fold_projects_each_stage_once() -> None:
    model = _model("linear")
    after = inspect_model(_folded(model), (64, 96))
    parts = {part.name: part.gmacs * 1e9 for part in after.parts}
    cells = [64 * 96 // (4 << stage) ** 2 for stage in range(4)]
    want = sum(w * HEAD.width * n for w, n in zip(model.spec.widths, cells, strict=True))
    assert parts["head segmentation folded stages"] == pytest.approx(want)
    assert "head segmentation project" not in parts and "head segmentation fuse" not in parts
