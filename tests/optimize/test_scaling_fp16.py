"""Powers of two for FP16: the twin whose head passes 65504 fits again, and nothing else changed."""

from __future__ import annotations

import copy

import pytest
import torch

from segship.optimize.exact import exact_rewrites
from segship.optimize.passes import Pipeline
from segship.optimize.scaling.fp16 import FP16_MAX, FitFp16, fit_fp16
from segship.optimize.scaling.seams import find_seams
from segship.tests.optimize.outlier_twin import half_precision_twin, outlier_twin
from segship.tests.optimize.scaling_models import (
    SPECS,
    TINY,
    busy_model,
    images,
    inputs,
    site_maxima,
    worst,
)

SINGLE = 1e-4  # the brief's bound; measured 1e-6, float32 weights rounded once more
LIMIT = FP16_MAX / 8
TYPICAL = torch.from_numpy(images()[0])


@pytest.mark.parametrize("name", SPECS)
def test_the_twin_overflows_in_half_precision_and_computes_the_same(name: str) -> None:
    model = busy_model(SPECS[name])
    twin = half_precision_twin(model, TYPICAL)
    assert worst(model, twin, inputs()) <= SINGLE
    for head in model.heads:
        assert site_maxima(twin, images())[f"heads.{head}.bn"].max() > FP16_MAX


@pytest.mark.parametrize("name", SPECS)
def test_the_twin_fits_after_the_pass_and_no_bit_of_the_output_changes(name: str) -> None:
    twin = half_precision_twin(busy_model(SPECS[name]), TYPICAL)
    result = Pipeline([FitFp16(site_maxima(twin, images()))]).run(twin)
    assert result.changed >= len(twin.heads)
    after = site_maxima(result.model, images())
    assert max(float(values.max()) for values in after.values()) <= LIMIT
    assert worst(twin, result.model, inputs()) == 0.0


def test_half_precision_agrees_only_with_the_pass() -> None:
    """The whole rewritten network in FP16, on the CPU."""
    model = busy_model(TINY)
    twin = half_precision_twin(model, TYPICAL)
    fitted = FitFp16(site_maxima(twin, images()))
    # half-precision arithmetic through five stages; measured 3e-3
    near = 2e-2
    for scaling, fits in (([], False), ([fitted], True)):
        half = exact_rewrites(scaling).run(twin).model.half()
        with torch.inference_mode():
            expected = model(TYPICAL)["segmentation"]
            got = half(TYPICAL.half())["segmentation"].float()
        error = float((expected - got).abs().max() / expected.abs().max())
        assert (error < near) is fits, error  # NaN is not smaller either


def test_a_model_that_fits_stays_as_it_is() -> None:
    model = busy_model(TINY)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    result = fit_fp16(model, site_maxima(model, images()))
    assert result.changed == 0 and result.notes == ()
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_the_fuse_alone_bounds_what_follows() -> None:
    """With the agreed sites only, the range behind BatchNorm is bounded, not measured."""
    twin = half_precision_twin(busy_model(TINY), TYPICAL)
    site = "heads.segmentation.fuse"
    result = Pipeline([FitFp16({site: site_maxima(twin, images())[site]})]).run(twin)
    assert float(site_maxima(result.model, images())["heads.segmentation.bn"].max()) <= LIMIT
    assert worst(twin, result.model, inputs()) == 0.0


def test_queries_and_keys_share_what_either_can_take() -> None:
    model = busy_model(TINY)
    query, key = (f"encoder.stages.0.blocks.0.attn.{part}" for part in ("q", "k"))
    small = torch.ones(8)
    large = small.clone()
    large[2] = 5 * LIMIT
    weight = model.get_parameter(f"{key}.weight")
    for maxima, factor in (((large, small), 8.0), ((small, large), 1 / 8)):
        before = weight.clone()
        result = fit_fp16(model, dict(zip((query, key), maxima, strict=True)))
        assert result.changed == 1
        assert torch.equal(weight[2], before[2] * factor)
        assert torch.equal(weight[3], before[3])
    both = fit_fp16(model, {query: large, key: large})
    assert both.changed == 0
    assert "cannot both stay" in both.notes[0] and query in both.notes[0]


def test_what_no_scale_reaches_is_named() -> None:
    model = busy_model(TINY)
    site = "encoder.stages.0.blocks.0.ffn.fc2"
    result = fit_fp16(model, {site: torch.full((8,), 1e6)})
    assert result.changed == 0
    assert len(result.notes) == 1
    assert result.notes[0].startswith(site) and "FP32" in result.notes[0]


def test_a_weight_that_leaves_half_precision_is_named() -> None:
    model = busy_model(TINY)
    site = "encoder.stages.0.blocks.0.norm2"
    result = fit_fp16(model, {site: torch.full((8,), LIMIT * 2.0**20)})
    assert any("fc1.weight: max |w|" in line and "passes FP16" in line for line in result.notes)
    assert any("norm2.weight" in line and "subnormal" in line for line in result.notes)


def test_every_seam_can_be_brought_down() -> None:
    model = outlier_twin(busy_model(TINY))
    reference = copy.deepcopy(model)
    maxima = site_maxima(model, images())
    seams = find_seams(model)[0]
    large = {seam.name: maxima[seam.name] * LIMIT for seam in seams}
    assert fit_fp16(model, large).changed == len(seams)
    assert worst(reference, model, inputs()) == 0.0
