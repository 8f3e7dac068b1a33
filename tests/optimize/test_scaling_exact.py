"""Scales that move: the function stays, the ranges change, and only where they may."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from segship.common.errors import InputError
from segship.models.segformer import SegFormer
from segship.optimize.exact import exact_rewrites
from segship.optimize.layer_norm import FoldLayerNorms
from segship.optimize.passes import Pass, Pipeline
from segship.optimize.scaling.equalize import EqualizeWeights
from segship.optimize.scaling.seams import find_seams
from segship.optimize.scaling.smooth import SmoothScaling, spread
from segship.tests.optimize.outlier_twin import outlier_twin
from segship.tests.optimize.scaling_models import (
    SPECS,
    TINY,
    busy_model,
    images,
    inputs,
    site_maxima,
    worst,
)

SINGLE = 1e-4  # the brief's bound; measured 2e-6, float32 weights rounded once more
DOUBLE = 1e-11  # what is left is float64 rounding, so the algebra is right


@pytest.mark.parametrize("name", SPECS)
def test_every_seam_takes_any_positive_scale(name: str) -> None:
    """One seam at a time, in float64, with factors from 1/100 to 100."""
    model = busy_model(SPECS[name]).double()
    pixels = inputs(torch.float64)
    small = [pixels[1], pixels[3]]
    torch.manual_seed(1)
    for seam in find_seams(model)[0]:
        # a seam holds the model's own tensors: scale, compare, scale back
        reference = copy.deepcopy(model)
        divisor = 10 ** (4 * torch.rand(seam.channels, dtype=torch.float64) - 2)
        seam.divide(divisor)
        assert worst(reference, model, small) <= DOUBLE, seam.name
        assert not torch.equal(
            seam.above[0].value, reference.state_dict()[f"{seam.above[0].path}.weight"]
        )
        seam.divide(1 / divisor)
    assert worst(busy_model(SPECS[name]).double(), model, pixels) <= DOUBLE


@pytest.mark.parametrize("name", SPECS)
def test_each_side_of_each_seam_matters(name: str) -> None:
    """The check above must be able to fail: a tensor left out of a seam changes the output."""
    model = busy_model(SPECS[name]).double()
    small = [inputs(torch.float64)[0][:1]]
    for seam in find_seams(model)[0]:
        for slot in (*seam.above, *seam.below):
            broken = copy.deepcopy(model)
            tensor = broken.state_dict()[f"{slot.path}.{slot.tensor}"]
            part = tensor.narrow(slot.dim, slot.start, seam.channels)
            part.mul_(3.0)
            # a constant added to every key leaves the softmax as it is
            if slot.path.endswith(".attn.k") and slot.tensor == "bias":
                continue
            assert worst(model, broken, small) > 1e-6, f"{slot.path}.{slot.tensor}"


def passes(model: SegFormer, power_of_two: bool) -> list[Pass]:
    maxima = site_maxima(model, images())
    return [
        SmoothScaling(maxima, power_of_two=power_of_two),
        SmoothScaling(maxima, 0.9, power_of_two=power_of_two),
        EqualizeWeights(power_of_two=power_of_two),
    ]


@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("name", SPECS)
def test_the_passes_change_no_output(name: str, power_of_two: bool) -> None:
    model = outlier_twin(busy_model(SPECS[name]))
    exact = copy.deepcopy(model).double()
    for item, double in zip(passes(model, power_of_two), passes(exact, power_of_two), strict=True):
        result = Pipeline([item]).run(model)
        assert result.changed > 0
        assert worst(model, result.model, inputs()) <= SINGLE, item.name
        scaled = Pipeline([double]).run(exact).model
        assert worst(exact, scaled, inputs(torch.float64)) <= DOUBLE, item.name


@pytest.mark.parametrize("name", SPECS)
def test_scaling_inside_the_rewrites_changes_no_output(name: str) -> None:
    model = busy_model(SPECS[name])
    folded = Pipeline([FoldLayerNorms()]).run(model).model
    scaling: list[Pass] = [SmoothScaling(site_maxima(folded, images())), EqualizeWeights()]
    result = exact_rewrites(scaling).run(model)
    assert worst(model, result.model, inputs()) <= SINGLE
    norm = result.model.get_parameter("encoder.stages.0.blocks.0.norm1.weight")
    assert not torch.equal(norm, torch.ones_like(norm))  # the rewrites kept the scale


def test_powers_of_two_change_no_bit() -> None:
    """Off under- and overflow a power of two passes through every float32 operation."""
    model = outlier_twin(busy_model(TINY))
    scaled = Pipeline([SmoothScaling(site_maxima(model, images()), power_of_two=True)]).run(model)
    plain = Pipeline([SmoothScaling(site_maxima(model, images()))]).run(model)
    seams, moved = find_seams(model)[0], find_seams(scaled.model)[0]
    for before, after in zip(seams, moved, strict=True):
        for old, new in zip(before.above, after.above, strict=True):
            mantissas = [torch.frexp(slot.value).mantissa for slot in (old, new)]
            assert torch.equal(*mantissas), old.path
    assert worst(model, scaled.model, inputs()) == 0.0
    assert worst(model, plain.model, inputs()) > 0.0


def test_smooth_scaling_levels_the_twin() -> None:
    model = busy_model(TINY)
    twin = outlier_twin(model)
    before, maxima = site_maxima(model, images()), site_maxima(twin, images())
    after = site_maxima(SmoothScaling(maxima).run(twin).model, images())
    names = [seam.name for seam in find_seams(model)[0] if seam.consumers and seam.norm is None]
    assert all(spread(maxima[name]) > 8 * spread(before[name]) for name in names)
    # α = 0.5 leaves √(x·w) per channel, which no twin can change
    untwinned = site_maxima(SmoothScaling(before).run(model).model, images())
    for name in names:
        assert torch.allclose(after[name], untwinned[name], rtol=1e-3), name


def test_smooth_scaling_is_the_formula() -> None:
    model = busy_model(TINY)
    site = "encoder.stages.0.blocks.0.norm1"
    block = model.encoder.get_submodule("stages.0.blocks.0")
    maxima = site_maxima(model, images())[site]
    gamma = block.get_parameter("norm1.weight").clone()
    query, reducer = block.get_parameter("attn.q.weight"), block.get_parameter("attn.sr.weight")
    largest = [
        max(float(query[:, c].abs().max()), float(reducer[:, c].abs().max())) for c in range(8)
    ]
    SmoothScaling({site: maxima}, 0.7).run(model)
    for channel in range(8):
        divisor = float(maxima[channel]) ** 0.7 / largest[channel] ** 0.3
        got = float(gamma[channel] / block.get_parameter("norm1.weight")[channel])
        assert got == pytest.approx(divisor, rel=1e-5)  # float32 weights


def test_depthwise_filters_level_the_activation_whole() -> None:
    model = outlier_twin(busy_model(TINY))
    site = "encoder.stages.1.blocks.0.ffn.fc1"
    maxima = {site: site_maxima(model, images())[site]}
    scaled = SmoothScaling(maxima).run(model).model
    assert spread(site_maxima(scaled, images())[site]) == pytest.approx(1.0, rel=1e-4)


def test_a_site_with_alpha_none_and_an_unknown_site_stay() -> None:
    model = busy_model(TINY)
    maxima = site_maxima(model, images())
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    result = SmoothScaling(maxima, alphas=dict.fromkeys(maxima)).run(model)
    assert result.changed == 0
    assert SmoothScaling({"elsewhere": torch.ones(3)}).run(model).changed == 0
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_dead_channels_and_unread_channels_are_harmless() -> None:
    model = busy_model(TINY)
    block = model.encoder.get_submodule("stages.1.blocks.0")
    block.get_parameter("norm2.weight").data[3] = 0
    block.get_parameter("norm2.bias").data[3] = 0
    block.get_parameter("ffn.fc1.weight").data[:, 5] = 0
    maxima = site_maxima(model, images())
    assert maxima["encoder.stages.1.blocks.0.norm2"][3] == 0
    for item in (SmoothScaling(maxima), SmoothScaling(maxima, 0.0), EqualizeWeights()):
        assert worst(model, Pipeline([item]).run(model).model, inputs()) <= SINGLE


def test_fuse_maxima_bound_what_the_classifier_reads() -> None:
    """The agreed sites end at the fuse; behind BatchNorm and ReLU the range is bounded."""
    for name in ("linear", "norm-after-relu"):
        model = busy_model(SPECS[name])
        site = "heads.segmentation"
        maxima = site_maxima(model, images())
        result = Pipeline([SmoothScaling({f"{site}.fuse": maxima[f"{site}.fuse"]})]).run(model)
        assert result.changed == 1 and f"{site}.bn:" in result.notes[0]
        assert worst(model, result.model, inputs()) <= SINGLE


def test_a_rewritten_model_has_no_seams_and_the_notes_say_so() -> None:
    rewritten = exact_rewrites().run(busy_model(TINY)).model
    maxima = site_maxima(busy_model(TINY), images())
    result = SmoothScaling(maxima).run(rewritten)
    assert result.changed == 0
    for kind in ("FusedAttention", "ConvMixFfn", "FoldedHead"):
        assert any(kind in line for line in result.notes)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_bad_maxima_are_refused_by_name(value: float) -> None:
    site = "encoder.stages.0.blocks.0.norm1"
    with pytest.raises(InputError, match=site):
        SmoothScaling({site: torch.full((8,), value)})


def test_bad_alphas_and_shapes_are_refused() -> None:
    site = "encoder.stages.0.blocks.0.norm1"
    with pytest.raises(InputError, match="alpha of 0 to 1"):
        SmoothScaling({}, 1.5)
    with pytest.raises(InputError, match="8 channels"):
        SmoothScaling({site: torch.ones(9)}).run(busy_model(TINY))


def test_equalization_levels_both_sides() -> None:
    twin = outlier_twin(busy_model(TINY), kinds=("v", "fc1", "q"))
    names = [".ffn.fc1", ".attn.v", ".attn.q"]
    scaled = Pipeline([EqualizeWeights()]).run(twin).model
    for seam in find_seams(scaled)[0]:
        if seam.name.endswith(tuple(names)):
            rows = seam.above[0].maxima(seam.channels)
            read = (seam.consumers or seam.below)[0].maxima(seam.channels)
            assert torch.allclose(rows, read, rtol=1e-5), seam.name  # float32 weights
