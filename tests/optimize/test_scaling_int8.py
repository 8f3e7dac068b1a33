"""INT8 simulated: the outlier twin breaks it, exact scaling repairs it, corrections help."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segship.calibration.channel_maxima import channel_maxima
from segship.common.errors import InputError
from segship.models.segformer import SegFormer
from segship.optimize.exact import exact_rewrites
from segship.optimize.layer_norm import FoldLayerNorms
from segship.optimize.passes import Pipeline
from segship.optimize.scaling.alpha import LEAST_GAIN_DB, choose_alpha
from segship.optimize.scaling.fake_quant import (
    LayerRanges,
    fake_quantize,
    fake_quantize_model,
    fake_quantize_weight,
    layer_ranges,
    quantizable_layers,
)
from segship.optimize.scaling.smooth import SmoothScaling
from segship.tests.optimize.outlier_twin import KINDS, outlier_twin
from segship.tests.optimize.scaling_models import (
    SPECS,
    TINY,
    busy_model,
    images,
    inputs,
    site_maxima,
    sqnr_db,
    worst,
)


def quantized(model: SegFormer) -> SegFormer:
    return fake_quantize_model(model, layer_ranges(model, images()))


def smooth(model: SegFormer) -> SegFormer:
    return Pipeline([SmoothScaling(site_maxima(model, images()))]).run(model).model


@pytest.mark.parametrize("name", SPECS)
def test_the_twin_is_the_same_function(name: str) -> None:
    model = busy_model(SPECS[name])
    # the bound of the issue; measured 2e-6, float32 weights rounded once more
    assert worst(model, outlier_twin(model), inputs()) <= 1e-4
    # in float64 only the algebra is left
    model = model.double()
    assert worst(model, outlier_twin(model), inputs(torch.float64)) <= 1e-11


def test_the_twin_is_seeded_and_reaches_its_factor() -> None:
    model = busy_model(TINY)
    twin, again, other = (outlier_twin(model, seed=seed) for seed in (1, 1, 2))
    site = "encoder.stages.3.norm.weight"
    assert torch.equal(twin.get_parameter(site), again.get_parameter(site))
    assert not torch.equal(twin.get_parameter(site), other.get_parameter(site))
    ratio = twin.get_parameter(site) / model.get_parameter(site)
    assert float(ratio.max()) == pytest.approx(100, rel=1e-6)  # one float32 rounding
    assert int((ratio > 1.001).sum()) == 2  # 32 channels, one in 16


# the scores of a random network are near zero, so q is judged by its own product below
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "q"])
def test_each_kind_of_outlier_hurts_and_scaling_repairs_it(kind: str) -> None:
    """Naive INT8 loses on every kind alone; with the scales moved it is as before the twin."""
    model = busy_model(TINY)
    twin = outlier_twin(model, kinds=(kind,))
    before = sqnr_db(model, quantized(model), images(seed=9))
    naive = sqnr_db(model, quantized(twin), images(seed=9))
    repaired = sqnr_db(model, quantized(smooth(twin)), images(seed=9))
    assert naive < before - 3  # dB; measured losses 4 to 23
    assert repaired > before - 2  # dB; calibration of a random network, measured -0.5 to +2


def test_every_sites_products_lose_and_are_repaired() -> None:
    model = busy_model(TINY)
    twin = outlier_twin(model)
    items = [model, twin, smooth(twin), smooth(model)]
    found = [
        choose_alpha(item, site_maxima(item, images()), images(2), alphas=()) for item in items
    ]
    sites = [site for site in found[0] if not site.startswith("heads.")]
    assert len(sites) == 4 * 6 + 3  # norm1, q, v, norm2, fc1, stage norm; three reducers
    for site in sites:
        before, naive, repaired, best = (choices[site].sqnr_db[None] for choices in found)
        assert naive < before - 3, site  # dB
        assert repaired == pytest.approx(best, abs=0.5), site  # dB; the twin leaves no trace
        assert repaired > before - 3, site  # dB; weights share the spread at α = 0.5


@pytest.mark.parametrize("name", SPECS)
def test_all_outliers_at_once_are_repaired(name: str) -> None:
    model = busy_model(SPECS[name])
    twin = outlier_twin(model)
    reached = [
        sqnr_db(model, quantized(item), images(seed=9)) for item in (model, twin, smooth(twin))
    ]
    assert reached[1] < reached[0] - 10  # dB
    assert reached[2] > reached[0] - 4  # dB; α = 0.5 gives weights a share, measured up to 2.4


@pytest.mark.parametrize("name", SPECS)
def test_scaling_inside_the_rewrites_repairs_the_twin(name: str) -> None:
    """With the sites the calibration room measures."""
    model = busy_model(SPECS[name])
    twin = outlier_twin(model)
    folded = Pipeline([FoldLayerNorms()]).run(twin).model
    scaling = SmoothScaling(channel_maxima(folded, images()))
    ideal, naive, repaired = (
        sqnr_db(model, quantized(exact_rewrites(passes).run(item).model), images(seed=9))
        for item, passes in ((model, []), (twin, []), (twin, [scaling]))
    )
    assert naive < ideal - 6  # dB; the folded norms repair a part of the twin by themselves
    assert repaired > ideal - 4  # dB; α = 0.5 gives weights a share, measured up to 3.5


def test_the_chosen_alpha_is_the_best_candidate_of_its_site() -> None:
    twin = outlier_twin(busy_model(TINY))
    maxima = site_maxima(twin, images())
    choices = choose_alpha(twin, maxima, images(2))
    site = "encoder.stages.2.blocks.0.norm2"
    choice = choices[site]
    assert choice.alpha is not None
    assert choice.sqnr_db[choice.alpha] == max(choice.sqnr_db.values())
    assert choice.sqnr_db[choice.alpha] > choice.sqnr_db[None] + 6  # dB, against 100-fold outliers
    kept = {site: choice.alpha for site, choice in choices.items()}
    chosen = Pipeline([SmoothScaling(maxima, alphas=kept)]).run(twin).model
    assert worst(twin, chosen, inputs()) <= 1e-4  # the bound of the issue
    naive = sqnr_db(twin, quantized(twin), images(seed=9))
    assert sqnr_db(twin, quantized(chosen), images(seed=9)) > naive + 10


def test_a_site_that_scaling_cannot_help_is_left_alone() -> None:
    model = busy_model(TINY)
    site = "encoder.stages.1.blocks.0.norm2"
    block = model.encoder.get_submodule("stages.1.blocks.0")
    width = block.get_parameter("norm2.weight").shape[0]
    # weights whose columns are alike, activations whose channels are alike
    weight = block.get_parameter("ffn.fc1.weight")
    weight.copy_(torch.randn(len(weight), 1).sign() * torch.rand(weight.shape).add(9))
    choice = choose_alpha(model, {site: torch.full((width,), 4.0)}, images(1))[site]
    assert choice.alpha is None
    assert max(choice.sqnr_db.values()) < choice.sqnr_db[None] + LEAST_GAIN_DB


def test_rounding_by_hand() -> None:
    x = torch.tensor([0.0, 0.4, 0.6, -1.0, 126.6, 127.0, 300.0, -300.0])
    assert fake_quantize(x, 127.0).tolist() == [0, 0, 1, -1, 127, 127, 127, -127]
    assert torch.equal(fake_quantize(x, 0.0), x)
    weight = torch.tensor([[127.0, 0.4, -3.6], [1.27, 0.004, -0.036], [0, 0, 0]])
    wanted = torch.tensor([[127.0, 0.0, -4.0], [1.27, 0.0, -0.04], [0, 0, 0]])
    assert torch.allclose(fake_quantize_weight(weight), wanted, rtol=1e-6)  # float32 division
    assert torch.equal(
        fake_quantize_weight(weight[..., None, None])[..., 0, 0], fake_quantize_weight(weight)
    )


def test_only_the_named_layers_are_quantized() -> None:
    model = busy_model(TINY)
    ranges = layer_ranges(model, images())
    assert set(ranges.inputs) == set(quantizable_layers(model))
    assert {path.rpartition(".")[2] for path in ranges.outputs} == {"q", "k", "v"}
    assert worst(model, fake_quantize_model(model, ranges, layers=()), inputs()) == 0.0
    name = "heads.segmentation.classifier"
    alone = fake_quantize_model(model, ranges, layers={name})
    for path, layer in quantizable_layers(alone).items():
        same = torch.equal(layer.weight, model.get_parameter(f"{path}.weight"))
        assert same is (path != name)
    assert worst(model, alone, inputs()) > 0


def test_wrong_paths_are_refused() -> None:
    model = busy_model(TINY)
    for options in ({"layers": {"nowhere"}}, {"weights": {"nowhere": torch.ones(1)}}):
        with pytest.raises(InputError, match="nowhere"):
            fake_quantize_model(model, LayerRanges({}), **options)
    with pytest.raises(InputError, match="nowhere"):
        fake_quantize_model(model, LayerRanges({"nowhere": 1.0}))


def test_ranges_cover_every_image() -> None:
    model = busy_model(TINY)
    together = layer_ranges(model, images(3))
    apart = [layer_ranges(model, [item]) for item in images(3)]
    for path, amax in together.inputs.items():
        assert amax == max(item.inputs[path] for item in apart)
    path = "encoder.stages.0.patch_embed.proj"
    assert together.inputs[path] == pytest.approx(max(np.abs(i).max() for i in images(3)))


def test_bad_images_are_refused() -> None:
    model = busy_model(TINY)
    with pytest.raises(InputError, match="got none"):
        layer_ranges(model, [])
    with pytest.raises(InputError, match="got uint8"):
        layer_ranges(model, [np.zeros((1, 3, 64, 96), np.uint8)])
    broken = images(1)
    broken[0][0, 0, 3, 3] = np.nan
    with pytest.raises(InputError, match=r"stages\.0\.patch_embed\.proj has NaN"):
        layer_ranges(model, broken)
