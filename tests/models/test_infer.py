"""The architecture read off tensors alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from segship.common.errors import InputError
from segship.models.checkpoints.infer import infer_spec
from segship.models.segformer import SegFormer
from segship.models.spec import VARIANTS, HeadKind, HeadSpec, ModelSpec, variant_spec
from segship.tests.models.flavour_files import Tensors

TINY = ModelSpec(
    widths=(8, 16, 24, 32),
    depths=(1, 1, 1, 1),
    attention_heads=(1, 2, 3, 4),
    heads=(HeadSpec(classes=3, width=16),),
)


def _tensors(spec: ModelSpec) -> Tensors:
    """The names and shapes of a model, without numbers."""
    with torch.device("meta"):
        return dict(SegFormer(spec).state_dict())


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_variant_is_recognised(variant: str) -> None:
    spec = variant_spec(variant, classes=19)
    assert infer_spec(_tensors(spec)) == spec


@pytest.mark.parametrize(
    "changes",
    [
        {"depths": (1, 12, 3, 2)},
        {"mlp_ratios": (8, 8, 4, 4)},
        {"sr_ratios": (4, 2, 1, 1)},
        {"sr_at_ratio_1": True},
        {"patch_sizes": (3, 5, 3, 3)},
        {"heads": (HeadSpec(classes=1, width=24, fuse_bias=True),)},
        {"heads": (HeadSpec(classes=7, width=16, kind=HeadKind.BRANCH_RELU),)},
        {
            "heads": (
                HeadSpec(classes=4, width=16),
                HeadSpec(name="depth", classes=1, width=8),
            )
        },
    ],
)
def test_what_differs_from_the_usual(changes: dict[str, object]) -> None:
    spec = replace(TINY, **changes)  # type: ignore[arg-type]  # fields of ModelSpec
    assert infer_spec(_tensors(spec)) == spec


def test_attention_heads_may_be_stated() -> None:
    assert infer_spec(_tensors(TINY), attention_heads=(2, 2, 2, 2)).attention_heads == (2, 2, 2, 2)


@pytest.mark.parametrize(
    "name",
    [
        "encoder.stages.2.patch_embed.proj.weight",
        "encoder.stages.0.blocks.0.attn.sr.weight",
        "encoder.stages.1.blocks.0.ffn.fc1.weight",
        "heads.segmentation.fuse.weight",
        "heads.segmentation.classifier.weight",
    ],
)
def test_a_missing_tensor_is_named_in_the_words_of_the_file(name: str) -> None:
    tensors = _tensors(TINY)
    del tensors[name]
    with pytest.raises(InputError, match=rf"<{name}>.*x\.pth lacks it"):
        infer_spec(tensors, lambda canonical: f"<{canonical}>", "x.pth")


def test_a_missing_block_is_named() -> None:
    spec = replace(TINY, depths=(1, 3, 1, 1))
    gone = "encoder.stages.1.blocks.1."
    tensors = {k: v for k, v in _tensors(spec).items() if not k.startswith(gone)}
    with pytest.raises(InputError, match=r"block 1 of stage 2"):
        infer_spec(tensors)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("encoder.stages.0.patch_embed.proj.weight", (8, 4, 7, 7), "3 channels"),
        ("encoder.stages.0.patch_embed.proj.weight", (8, 3), "4 dimensions"),
        ("encoder.stages.0.patch_embed.proj.weight", (0, 3, 7, 7), "4 dimensions"),
        ("encoder.stages.3.patch_embed.proj.weight", (31, 24, 3, 3), "multiples of the first"),
        ("encoder.stages.0.blocks.0.ffn.fc1.weight", (33, 8), "whole number of times"),
    ],
)
def test_shapes_of_no_segformer(name: str, shape: tuple[int, ...], message: str) -> None:
    tensors = {**_tensors(TINY), name: torch.empty(shape, device="meta")}
    with pytest.raises(InputError, match=message):
        infer_spec(tensors)
