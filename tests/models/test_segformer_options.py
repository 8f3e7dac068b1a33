"""Options no transformers model has, each against an independent computation in numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segship.models.segformer import DecodeHead, SegFormer
from segship.models.spec import Eps, HeadKind, HeadSpec, ModelSpec

Array = NDArray[np.float64]
TOLERANCE = 1e-5  # of the largest value: float32 against float64 over a few dozen additions

SPEC = ModelSpec(
    widths=(8, 16, 24, 32),
    depths=(1, 1, 1, 1),
    attention_heads=(1, 2, 3, 4),
    heads=(HeadSpec(classes=3, width=12),),
)


def _model(spec: ModelSpec, perturb: Callable[[nn.Module], None]) -> SegFormer:
    torch.manual_seed(11)
    model = SegFormer(spec).eval()
    perturb(model)
    return model.requires_grad_(False)


def _array(tensor: Any) -> Array:
    return np.asarray(tensor.detach().double().numpy())


def _assert_close(got: Tensor, want: Array) -> None:
    assert got.shape == want.shape
    assert np.abs(_array(got) - want).max() <= TOLERANCE * np.abs(want).max()


def _taps(target: int, source: int, align_corners: bool) -> tuple[Any, Any, Any]:
    """Return the two source cells and the weight of the second for each target cell."""
    cells = np.arange(target, dtype=np.float64)
    if align_corners:
        where = cells * (source - 1) / max(target - 1, 1)
    else:
        where = np.clip((cells + 0.5) * source / target - 0.5, 0, None)
    low = np.minimum(np.floor(where).astype(int), source - 1)
    return low, np.minimum(low + 1, source - 1), where - low


def _upsample(x: Array, size: tuple[int, int], align_corners: bool) -> Array:
    top, bottom, down = _taps(size[0], x.shape[2], align_corners)
    x = x[:, :, top] * (1 - down)[:, None] + x[:, :, bottom] * down[:, None]
    left, right, along = _taps(size[1], x.shape[3], align_corners)
    return np.asarray(x[..., left] * (1 - along) + x[..., right] * along)


def _batch_norm(x: Array, norm: Any) -> Array:
    spread = np.sqrt(_array(norm.running_var) + 1e-5)
    centred = (x - _array(norm.running_mean)[:, None, None]) / spread[:, None, None]
    return np.asarray(
        centred * _array(norm.weight)[:, None, None] + _array(norm.bias)[:, None, None]
    )


def _branch(head: DecodeHead, stage: int, feature: Tensor, relu: bool, norm: bool) -> Array:
    x = np.einsum("oc,bchw->bohw", _array(head.project[stage].weight), _array(feature))
    if head.project[stage].bias is not None:
        x += _array(head.project[stage].bias)[:, None, None]
    x = _batch_norm(x, head.branch_bn[stage]) if norm else x
    return np.maximum(x, 0) if relu else x


def _head(
    head: DecodeHead,
    features: list[Tensor],
    *,
    relu: bool = False,
    align_corners: bool = False,
    norm_branches: bool | None = None,
    norm_last: bool = False,
) -> Array:
    size = (features[0].shape[2], features[0].shape[3])
    norm = relu if norm_branches is None else norm_branches
    branches = [
        _upsample(_branch(head, stage, feature, relu, norm), size, align_corners)
        for stage, feature in enumerate(features)
    ]
    stacked = np.concatenate(branches[::-1], axis=1)
    fused = np.einsum("oc,bchw->bohw", _array(head.fuse.weight)[:, :, 0, 0], stacked)
    if head.fuse.bias is not None:
        fused += _array(head.fuse.bias)[None, :, None, None]
    if norm_last:
        active = _batch_norm(np.maximum(fused, 0), head.bn)
    else:
        active = np.maximum(_batch_norm(fused, head.bn), 0)
    logits = np.einsum("kc,bchw->bkhw", _array(head.classifier.weight)[:, :, 0, 0], active)
    return np.asarray(logits + _array(head.classifier.bias)[None, :, None, None])


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("kind", list(HeadKind))
@pytest.mark.parametrize("fuse_bias", [False, True])
@pytest.mark.parametrize("norm_last", [False, True])
def test_decode_head_equals_numpy(
    align_corners: bool,
    kind: HeadKind,
    fuse_bias: bool,
    norm_last: bool,
    perturb: Callable[[nn.Module], None],
) -> None:
    relu = kind is HeadKind.BRANCH_RELU
    options = HeadSpec(
        classes=3,
        width=12,
        kind=kind,
        align_corners=align_corners,
        fuse_bias=fuse_bias,
        norm_after_relu=norm_last,
    )
    model = _model(replace(SPEC, heads=(options,)), perturb)
    pixels = torch.randn(2, 3, 75, 133)
    features = model.encoder(pixels)
    head = model.heads["segmentation"]
    assert isinstance(head, DecodeHead)
    assert all((project.bias is None) == relu for project in head.project)
    got = model(pixels)["segmentation"]
    right: dict[str, Any] = {"relu": relu, "align_corners": align_corners, "norm_last": norm_last}
    _assert_close(got, _head(head, features, **right))
    wrong: list[dict[str, Any]] = [
        {"align_corners": not align_corners},
        {"norm_last": not norm_last},
        {"relu": not relu, "norm_branches": relu},
    ]
    wrong += [{"norm_branches": False}] if relu else []
    for change in wrong:
        other = _head(head, features, **{**right, **change})
        assert np.abs(_array(got) - other).max() > 1e-2 * np.abs(other).max(), change


def test_each_layer_norm_uses_the_eps_of_its_site(perturb: Callable[[nn.Module], None]) -> None:
    eps = Eps(patch=0.1, sr=0.2, block=0.3, stage=0.4)
    model = _model(replace(SPEC, eps=eps), perturb)
    sites = {"patch_embed.norm": 0.1, "attn.sr_norm": 0.2, "norm1": 0.3, "norm2": 0.3}
    seen: dict[str, tuple[Array, Array, nn.Module]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            module.register_forward_hook(
                lambda owner, args, out, name=name: seen.update(
                    {name: (_array(args[0]), _array(out), owner)}
                )
            )
    model(torch.randn(1, 3, 64, 96))
    assert len(seen) == 4 + 3 + 8 + 4  # patch, reductions (ratio 1 has none), blocks, stages
    for name, (x, got, module) in seen.items():
        expected = next((value for site, value in sites.items() if name.endswith(site)), 0.4)
        centred = x - x.mean(-1, keepdims=True)
        want = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + expected)
        want = want * _array(module.weight) + _array(module.bias)
        assert np.abs(got - want).max() <= TOLERANCE * np.abs(want).max(), name


def test_two_heads_each_equal_numpy_on_one_encoder(perturb: Callable[[nn.Module], None]) -> None:
    depth = HeadSpec("depth", classes=1, width=20)
    model = _model(replace(SPEC, heads=(SPEC.head, depth)), perturb)
    pixels = torch.randn(1, 3, 64, 96)
    outputs = model(pixels)
    assert list(outputs) == ["segmentation", "depth"]
    features = model.encoder(pixels)
    for name, channels in (("segmentation", 3), ("depth", 1)):
        head = model.heads[name]
        assert isinstance(head, DecodeHead)
        assert outputs[name].shape == (1, channels, 16, 24)
        _assert_close(outputs[name], _head(head, features))


@pytest.mark.parametrize("align_corners", [False, True])
def test_output_stride_1_is_the_up_sampled_quarter_output(
    align_corners: bool, perturb: Callable[[nn.Module], None]
) -> None:
    quarter = _model(SPEC, perturb)
    spec = replace(SPEC, output_stride=1, output_align_corners=align_corners)
    full = _model(spec, perturb)
    full.load_state_dict(quarter.state_dict())
    pixels = torch.randn(1, 3, 75, 133)
    want = _upsample(_array(quarter(pixels)["segmentation"]), (75, 133), align_corners)
    _assert_close(full(pixels)["segmentation"], want)


def test_reduction_at_ratio_1_adds_a_convolution_and_norm(
    perturb: Callable[[nn.Module], None],
) -> None:
    model = _model(replace(SPEC, sr_at_ratio_1=True), perturb)
    attention = model.get_submodule("encoder.stages.3.blocks.0.attn")
    x = torch.randn(1, 6, 32)
    got = attention.reduce(x, 2, 3)  # type: ignore[operator]  # a method of Attention
    weight = _array(attention.get_parameter("sr.weight"))[:, :, 0, 0]
    mixed = _array(x) @ weight.T + _array(attention.get_parameter("sr.bias"))
    centred = mixed - mixed.mean(-1, keepdims=True)
    want = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    norm = attention.get_submodule("sr_norm")
    _assert_close(got, want * _array(norm.weight) + _array(norm.bias))
