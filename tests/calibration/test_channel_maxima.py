"""Channel maxima equal those of the module's own outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segship.calibration.channel_maxima import channel_maxima, channel_sites
from segship.calibration.weights import weight_scales
from segship.common.errors import InputError
from segship.models.segformer import SegFormer, tokens_from_map
from segship.models.spec import HeadSpec, ModelSpec

SPEC = ModelSpec(
    widths=(8, 16, 24, 32),
    depths=(1, 1, 1, 2),
    attention_heads=(1, 2, 3, 4),
    heads=(HeadSpec(classes=5, width=16), HeadSpec(name="depth", classes=1, width=12)),
)


@pytest.fixture
def model() -> SegFormer:
    """A random model of two heads, in training mode."""
    torch.manual_seed(2)
    return SegFormer(SPEC)


@pytest.fixture
def images() -> list[NDArray[np.float32]]:
    """Three images of two sizes."""
    random = np.random.default_rng(4)
    sizes = ((64, 96), (64, 96), (96, 64))
    return [random.normal(size=(1, 3, *size)).astype(np.float32) for size in sizes]


def test_the_sites_are_those_the_model_has(model: SegFormer) -> None:
    sites = channel_sites(model)
    assert "encoder.stages.0.blocks.0.attn.sr_norm" in sites
    assert "encoder.stages.3.blocks.1.attn.sr_norm" not in sites  # ratio 1 has no reduction
    assert {"encoder.stages.3.norm", "heads.segmentation.fuse", "heads.depth.fuse"} <= set(sites)
    assert (
        len(sites) == 5 * 6 + 3 + 4 + 2 * 2
    )  # blocks, reductions, stages, fuse and bn of two heads


def test_maxima_are_those_of_the_outputs(
    model: SegFormer, images: list[NDArray[np.float32]]
) -> None:
    found = channel_maxima(model, iter(images))
    assert model.training and not any(module._forward_hooks for module in model.modules())
    model.eval()
    embed = model.get_submodule("encoder.stages.0.patch_embed")
    norm = model.get_submodule("encoder.stages.0.blocks.0.norm1")
    fused: list[torch.Tensor] = []
    model.get_submodule("heads.depth.fuse").register_forward_hook(
        lambda *seen: fused.append(seen[-1])
    )
    with torch.inference_mode():
        outputs = [norm(embed(torch.from_numpy(image))[0]) for image in images]
        for image in images:
            model(torch.from_numpy(image))
    wanted = torch.stack([out.abs().amax(dim=(0, 1)) for out in outputs]).amax(dim=0)
    # the same operators on the same numbers
    torch.testing.assert_close(found["encoder.stages.0.blocks.0.norm1"], wanted, rtol=0, atol=0)
    wanted = torch.stack([tokens_from_map(out).abs().amax(dim=(0, 1)) for out in fused]).amax(dim=0)
    torch.testing.assert_close(found["heads.depth.fuse"], wanted, rtol=0, atol=0)
    assert found["encoder.stages.2.blocks.0.ffn.fc1"].shape == (96,)


def test_wrong_images_are_refused(model: SegFormer, images: list[NDArray[np.float32]]) -> None:
    with pytest.raises(InputError, match="got none"):
        channel_maxima(model, [])
    with pytest.raises(InputError, match="float32 pixels, but got uint8"):
        channel_maxima(model, [np.zeros((1, 3, 64, 64), np.uint8)])
    with torch.no_grad():
        model.get_parameter("encoder.stages.1.blocks.0.norm2.bias")[3] = torch.nan
    with pytest.raises(InputError, match=r"stages.1.blocks.0.norm2 is not in channel 3 on image 1"):
        channel_maxima(model, images)


def test_weight_scales_are_per_channel() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    weight[2] = 0
    scales = weight_scales(weight, 0)
    assert scales.shape == (4,) and scales.dtype == np.float32 and scales[2] == 1
    assert scales[1] == np.float32(np.abs(weight[1]).max() / 127)
    assert weight_scales(weight, 1).shape == weight_scales(weight, -3).shape == (3,)
    assert weight_scales(weight, 0, bits=4)[0] == np.float32(np.abs(weight[0]).max() / 7)
    with pytest.raises(InputError, match="an axis of a weight"):
        weight_scales(weight, 4)
    weight[1, 0, 0, 0] = np.inf
    with pytest.raises(InputError, match="channel 1 of a weight"):
        weight_scales(weight, 0)


def test_the_real_model_is_measured(shared_dir: Path) -> None:
    from segship.calibration.calibration_set import open_calibration
    from segship.models.checkpoints import load_checkpoint

    checkpoint = load_checkpoint(shared_dir / "checkpoints" / "segformer-b0-camvid")
    contract = checkpoint.contract.with_size(128, 128)
    chosen = open_calibration(f"camvid:{shared_dir}/camvid@train", contract, images=2)
    found = channel_maxima(checkpoint.model, chosen.pixels())
    assert len(found) == 60 and all(bool((values > 0).all()) for values in found.values())
