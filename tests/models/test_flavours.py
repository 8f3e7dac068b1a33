"""Every flavour's table reads and writes the same bits, and every number it moves matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segship.common.errors import InputError
from segship.models.checkpoints.flavours import FLAVOURS, flavour_named
from segship.models.checkpoints.hf_keys import SINCE_5_9
from segship.models.segformer import SegFormer
from segship.models.spec import HeadSpec, variant_spec
from segship.tests.models.flavour_files import (
    Tensors,
    same_tensors,
    tiny_spec,
    tiny_state,
    tiny_tensors,
)

FlavourFile = Callable[..., Path]
Refused = Callable[..., None]
NAMES = [flavour.name for flavour in FLAVOURS]


# --- both directions -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_and_written_again_has_the_same_bits(name: str, dtype: torch.dtype) -> None:
    stored = {
        key: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for key, tensor in tiny_tensors(name).items()
    }
    flavour = flavour_named(name)
    reading = flavour.read(stored)
    assert same_tensors(flavour.write(reading.tensors, reading.spec), stored)


@pytest.mark.parametrize("name", NAMES)
def test_the_canonical_tensors_are_those_that_were_written(name: str) -> None:
    flavour = flavour_named(name)
    spec = tiny_spec(flavour)
    state = tiny_state(flavour, spec)
    reading = flavour.read(flavour.write(state, spec))
    assert same_tensors(reading.tensors, state)
    assert reading.spec == spec


@pytest.mark.parametrize("name", NAMES)
def test_deeper_stages_and_other_classes(name: str) -> None:
    flavour = flavour_named(name)
    spec = replace(tiny_spec(flavour, classes=2), depths=(1, 3, 2, 11))
    state = tiny_state(flavour, spec)
    reading = flavour.read(flavour.write(state, spec))
    assert reading.spec == spec
    assert same_tensors(reading.tensors, state)


def test_the_newer_spelling_of_transformers_reads_the_same() -> None:
    flavour = flavour_named("hf")
    spec = tiny_spec(flavour)
    state = tiny_state(flavour, spec)
    reading = flavour.read(flavour.write(state, spec, SINCE_5_9))
    assert same_tensors(reading.tensors, state) and reading.layout is SINCE_5_9


def test_a_layout_refuses_to_write_what_it_cannot_hold() -> None:
    flavour = flavour_named("zuppichini")
    spec = tiny_spec(flavour)
    state = tiny_state(flavour, spec)
    uneven = {**state, "encoder.stages.0.blocks.0.ffn.fc1.bias": torch.arange(32.0)}
    with pytest.raises(InputError, match="runs of 4 equal rows"):
        flavour.write(uneven, spec)
    biased = {**state, "encoder.stages.0.patch_embed.proj.bias": torch.ones(8)}
    with pytest.raises(InputError, match="to be zero"):
        flavour.write(biased, spec)
    with pytest.raises(InputError, match="no such|can hold"):
        flavour_named("hf").write({"heads.depth.bn.weight": torch.ones(1)}, spec)


# --- every number matters --------------------------------------------------------------------


def _output(name: str, change: Callable[[Tensors], None] | None = None) -> Tensor:
    flavour = flavour_named(name)
    stored = tiny_tensors(name)
    if change is not None:
        change(stored)
    reading = flavour.read(stored)
    model = SegFormer(reading.spec).eval()
    model.load_state_dict(reading.tensors)
    torch.manual_seed(1)
    with torch.no_grad():
        return torch.cat([out.flatten() for out in model(torch.randn(1, 3, 64, 96)).values()])


@pytest.mark.parametrize(
    ("name", "key", "parts", "dim"),
    [
        ("nvlabs", "backbone.block1.0.attn.kv.weight", 2, 0),
        ("course", "backbone.stages.0.blocks.0.attn.kv.weight", 2, 0),
        ("mmseg", "backbone.layers.0.1.0.attn.attn.in_proj_weight", 3, 0),
        ("zuppichini", "encoder.stages.0.blocks.0.0.fn.1.att.in_proj_weight", 3, 0),
        ("mmseg", "decode_head.fusion_conv.conv.weight", 4, 1),
        ("smp", "decoder.fuse_stage.0.weight", 4, 1),
    ],
)
def test_the_order_of_fused_parts_matters(name: str, key: str, parts: int, dim: int) -> None:
    def permute(stored: Tensors) -> None:
        stored[key] = torch.cat(stored[key].chunk(parts, dim)[::-1], dim)

    right = _output(name)
    # a permuted part moves logits by tenths; 1e-3 of the largest is far above rounding (1e-6)
    assert (_output(name, permute) - right).abs().max() > 1e-3 * right.abs().max()


@pytest.mark.parametrize("key", ["decoder.linear_fuse.0.bias", "decoder.linear_pred.bias"])
def test_a_dropped_bias_of_tao_changes_the_output(key: str) -> None:
    right = _output("tao6")
    wrong = _output("tao6", lambda stored: stored[key].zero_())  # type: ignore[arg-type]  # the tensor is not used
    assert (wrong - right).abs().max() > 1e-3 * right.abs().max()  # rounding is 1e-6


def test_mmseg_keeps_the_stages_in_the_canonical_order() -> None:
    """The first quarter of the foreign fuse belongs to stage 1, the last of the canonical one."""
    flavour = flavour_named("mmseg")
    stored = tiny_tensors("mmseg")
    fuse = flavour.read(stored).tensors["heads.segmentation.fuse.weight"]
    theirs = stored["decode_head.fusion_conv.conv.weight"]
    assert torch.equal(fuse[:, -16:], theirs[:, :16]) and torch.equal(fuse[:, :16], theirs[:, -16:])


def test_deepest_first_lists_are_turned_round() -> None:
    stored = tiny_tensors("smp")
    read = flavour_named("smp").read(stored).tensors
    assert torch.equal(
        read["heads.segmentation.project.3.weight"], stored["decoder.mlp_stage.0.linear.weight"]
    )
    course = tiny_tensors("course")
    canonical = flavour_named("course").read(course).tensors
    assert torch.equal(
        canonical["heads.segmentation.project.3.weight"],
        course["decoder_head.layers.0.weight"].flatten(1),
    )


def test_zuppichinis_narrow_convolution_is_repeated() -> None:
    read = flavour_named("zuppichini").read(tiny_tensors("zuppichini")).tensors
    fc1 = read["encoder.stages.1.blocks.0.ffn.fc1.weight"]
    assert fc1.shape == (64, 16)
    assert all(torch.equal(fc1[4 * row + part], fc1[4 * row]) for row in (0, 9) for part in (1, 3))
    assert not torch.equal(fc1[0], fc1[4])
    assert not read["encoder.stages.0.patch_embed.proj.bias"].any()


# --- published sizes -------------------------------------------------------------------------


def _sizes(name: str, variant: str, classes: int, head_width: int) -> tuple[int, int, int]:
    """Keys, bytes and parameters of a state dict, without making its numbers."""
    flavour = flavour_named(name)
    heads = tuple(
        HeadSpec(head, 1 if head == "depth" else classes, head_width) for head in flavour.head_names
    )
    spec = flavour.dress(replace(variant_spec(variant, classes), heads=heads))
    with torch.device("meta"):
        model = SegFormer(spec)
    stored = flavour.write(dict(model.state_dict()), spec)
    size = sum(tensor.numel() * tensor.itemsize for tensor in stored.values())
    return len(stored), size, sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("variant", "head_width", "keys", "mib"),
    [
        ("B0", 256, 208, 14.19),
        ("B1", 256, 208, 52.20),
        ("B2", 768, 380, 104.38),
        ("B3", 768, 644, 180.20),
        ("B4", 768, 930, 244.18),
        ("B5", 768, 1172, 322.76),
    ],
)
def test_hub_files_have_the_published_number_of_keys(
    variant: str, head_width: int, keys: int, mib: float
) -> None:
    counted, size, _ = _sizes("hf", variant, 19, head_width)
    assert counted == keys and round(size / 2**20, 2) == mib


def test_the_files_of_the_course_have_the_size_it_states() -> None:
    assert round(_sizes("course", "B3", 3, 256)[1] / 2**20, 2) == 170.13
    _, size, parameters = _sizes("segformer3d", "B3", 19, 256)
    assert round(size / 2**20, 2) == 172.16 and round(parameters / 1e6, 2) == 45.13
