"""Each rewrite against the original: fires n times, equal at a stated tolerance."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from segship.models.segformer import SegFormer
from segship.models.spec import HeadKind, HeadSpec, ModelSpec, variant_spec
from segship.optimize.attention import FuseAttention, FusedAttention
from segship.optimize.exact import exact_rewrites
from segship.optimize.head_fold import FoldedHead, FoldHeads
from segship.optimize.layer_norm import FoldLayerNorms
from segship.optimize.mix_ffn import ConvertMixFfn, ConvMixFfn
from segship.optimize.passes import Pass, Pipeline

TINY = ModelSpec(
    widths=(8, 16, 24, 32),
    depths=(1, 2, 1, 1),
    attention_heads=(1, 2, 3, 4),
    heads=(HeadSpec(classes=5, width=16),),
)
BRANCH = replace(
    TINY, heads=(HeadSpec(classes=5, width=16, kind=HeadKind.BRANCH_RELU, fuse_bias=True),)
)
CORNERS = replace(TINY, heads=(HeadSpec(classes=5, width=16, align_corners=True),))
TWO_HEADS = replace(
    TINY, heads=(HeadSpec(classes=5, width=16), HeadSpec("depth", classes=1, width=8))
)
REDUCER_EVERYWHERE = replace(TINY, sr_at_ratio_1=True)
SPECS = {
    "tiny": TINY,
    "branch-relu": BRANCH,
    "align-corners": CORNERS,
    "two-heads": TWO_HEADS,
    "reducer-at-ratio-1": REDUCER_EVERYWHERE,
    "B0": variant_spec("B0", classes=19),
}
SHAPES = [(1, 3, 64, 64), (3, 3, 75, 133), (2, 3, 32, 96)]
# float32 sums in another order; one wrong factor changes the output by over 1e-2
TOLERANCE = 1e-5


def perturbed(spec: ModelSpec, seed: int = 0) -> SegFormer:
    """A model whose every parameter and BN statistic matters."""
    torch.manual_seed(seed)
    model = SegFormer(spec).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.5)
            if name.endswith("running_var"):
                buffer.uniform_(0.2, 3)
    return model


def worst(model: SegFormer, other: SegFormer, shape: tuple[int, ...], scale: float = 1.0) -> float:
    """Largest difference over the largest reference value, over all heads."""
    pixels = scale * torch.randn(shape)
    with torch.inference_mode():
        expected, got = model(pixels), other(pixels)
    return max(
        float((expected[n] - got[n]).abs().max() / expected[n].abs().max()) for n in expected
    )


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(
    "rewrite",
    [FoldLayerNorms(), FuseAttention(), ConvertMixFfn(), FoldHeads()],
    ids=lambda p: p.name,
)
def test_each_rewrite_alone_changes_nothing(name: str, rewrite: Pass) -> None:
    model = perturbed(SPECS[name])
    pipeline = Pipeline([rewrite])
    result = pipeline.run(model)
    assert result.changed > 0
    for shape in SHAPES[:2] if name == "B0" else SHAPES:
        assert worst(model, result.model, shape) < TOLERANCE


@pytest.mark.parametrize("name", SPECS)
def test_all_rewrites_together_change_nothing(name: str) -> None:
    model = perturbed(SPECS[name], seed=1)
    rewritten = exact_rewrites().run(model).model
    for shape in SHAPES:
        assert worst(model, rewritten, shape) < TOLERANCE
        assert worst(model, rewritten, shape, scale=0.0 if shape[0] == 1 else 50.0) < TOLERANCE


def test_the_pipeline_leaves_the_original_alone() -> None:
    model = perturbed(TINY)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    exact_rewrites().run(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_each_pass_reports_how_often_it_fired() -> None:
    pipeline = exact_rewrites()
    pipeline.run(perturbed(variant_spec("B0")))
    fired = {note.name: note.changed for note in pipeline.record}
    # B0: 8 blocks, 6 of them with a reducer; 2 norms a block and the reducer's own
    assert fired == {
        "fold-layer-norm": 8 * 2 + 6,
        "fuse-attention": 8,
        "mix-ffn-layout": 8,
        "fold-head": 1,
    }


def test_a_second_run_fires_nowhere_and_says_why() -> None:
    once = exact_rewrites().run(perturbed(TINY)).model
    again = exact_rewrites()
    result = again.run(once)
    assert result.changed == 0
    assert any("already" in line for line in result.notes)
    assert worst(once, result.model, (1, 3, 64, 64)) == 0.0


def test_the_modules_are_what_the_names_say() -> None:
    model = exact_rewrites().run(perturbed(TWO_HEADS)).model
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(FusedAttention) == 5
    assert kinds.count(ConvMixFfn) == 5
    assert kinds.count(FoldedHead) == 2
    assert not [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def test_norms_inside_blocks_lose_their_affine_part_and_no_others() -> None:
    model = FoldLayerNorms().run(perturbed(TINY)).model
    tensors = model.state_dict()
    inside = [f"encoder.stages.0.blocks.0.{name}" for name in ("norm1", "norm2", "attn.sr_norm")]
    for name in inside:
        assert torch.equal(tensors[f"{name}.weight"], torch.ones(8))
        assert not tensors[f"{name}.bias"].any()
    for name in ("encoder.stages.0.norm", "encoder.stages.0.patch_embed.norm"):
        assert not torch.equal(tensors[f"{name}.weight"], torch.ones(8))


def test_the_fold_is_sensitive_to_the_order_of_the_stages() -> None:
    """The check above must be able to fail: two stages' columns swapped give another function."""
    model = perturbed(replace(TINY, widths=(16, 16, 16, 16), attention_heads=(1, 2, 4, 4)))
    folded = Pipeline([FoldHeads()]).run(model).model
    tensors = folded.state_dict()
    names = [f"heads.segmentation.stages.{index}.weight" for index in (2, 3)]
    swapped = {names[0]: tensors[names[1]].clone(), names[1]: tensors[names[0]].clone()}
    folded.load_state_dict({**tensors, **swapped})
    assert worst(model, folded, (1, 3, 96, 96)) > 1e-2
