"""The canonical model computes what transformers computes, for every variant and odd sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from segship.models.checkpoints import load_checkpoint
from segship.models.segformer import SegFormer

HfModel = Callable[..., nn.Module]
TOLERANCE = 1e-5  # of the largest reference logit: the parity the specification asks for
SMALL, MIDDLE, LARGE = (75, 133), (180, 320), (360, 480)


def _pixels(batch: int, size_px: tuple[int, int]) -> Tensor:
    return torch.randn(batch, 3, *size_px, generator=torch.Generator().manual_seed(3))


def _relative_error(reference: nn.Module, ours: SegFormer, pixels: Tensor) -> float:
    with torch.inference_mode():
        want = reference(pixel_values=pixels).logits
        got = ours(pixels)["segmentation"]
    assert got.shape == want.shape
    return float((got - want).abs().max() / want.abs().max())


@pytest.mark.parametrize("variant", ["B0", "B1", "B2"])
def test_small_variants_agree_with_transformers_at_odd_sizes_and_batches(
    variant: str, hf_variant: HfModel, big_folder: Path
) -> None:
    reference = hf_variant(variant)
    reference.save_pretrained(big_folder)  # type: ignore[operator]  # nn.Module does not declare it
    ours = load_checkpoint(big_folder)
    assert ours.spec.variant == variant
    for batch, size_px in ((3, SMALL), (1, MIDDLE), (1, LARGE)):
        assert _relative_error(reference, ours.model, _pixels(batch, size_px)) <= TOLERANCE


@pytest.mark.parametrize("variant", ["B3", "B4", "B5"])
def test_large_variants_agree_with_transformers(
    variant: str, hf_variant: HfModel, big_folder: Path
) -> None:
    reference = hf_variant(variant, 150)
    reference.save_pretrained(big_folder)  # type: ignore[operator]  # nn.Module does not declare it
    ours = load_checkpoint(big_folder)
    assert ours.spec.variant == variant
    assert _relative_error(reference, ours.model, _pixels(3, SMALL)) <= TOLERANCE


def test_names_of_transformers_5_9_in_a_bin_file_give_the_same_model(
    saved_tiny: tuple[nn.Module, Path], tiny: Path
) -> None:
    reference, _ = saved_tiny
    (tiny / "model.safetensors").unlink()
    assert "segformer.stages.0.blocks.0.attention.q_proj.weight" in reference.state_dict()
    torch.save(reference.state_dict(), tiny / "pytorch_model.bin")
    ours = load_checkpoint(tiny).model
    assert _relative_error(reference, ours, _pixels(3, SMALL)) <= TOLERANCE


def test_the_real_checkpoint_agrees_with_transformers(camvid_checkpoint: Path) -> None:
    from transformers import SegformerForSemanticSegmentation

    reference: nn.Module = SegformerForSemanticSegmentation.from_pretrained(camvid_checkpoint)
    reference.eval()
    ours = load_checkpoint(camvid_checkpoint).model
    for batch, size_px in ((3, SMALL), (1, LARGE)):
        assert _relative_error(reference, ours, _pixels(batch, size_px)) <= TOLERANCE


@pytest.mark.parametrize("matrix", ["q", "k", "v"])
@pytest.mark.parametrize("stage", [0, 3])
def test_parity_notices_one_rolled_attention_matrix(
    matrix: str, stage: int, saved_tiny: tuple[nn.Module, Path]
) -> None:
    reference, folder = saved_tiny
    ours = load_checkpoint(folder).model
    weight = ours.get_parameter(f"encoder.stages.{stage}.blocks.0.attn.{matrix}.weight")
    with torch.no_grad():
        weight.copy_(weight.roll(1, dims=0))
    assert _relative_error(reference, ours, _pixels(1, SMALL)) > 100 * TOLERANCE


def test_parity_notices_another_layer_norm_eps(saved_tiny: tuple[nn.Module, Path]) -> None:
    reference, folder = saved_tiny
    ours = load_checkpoint(folder).model
    for module in ours.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-3
    assert _relative_error(reference, ours, _pixels(1, SMALL)) > 2 * TOLERANCE
