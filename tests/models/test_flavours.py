"""Every flavour's table reads and writes the same bits, and every number it moves matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segship.common.errors import InputError
from segship.data.contract import ChannelOrder, OutputKind, Resample
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.flavours import FLAVOURS, flavour_named
from segship.models.checkpoints.hf_keys import SINCE_5_9
from segship.models.checkpoints.settings import parse_settings
from segship.models.segformer import SegFormer
from segship.models.spec import Eps, HeadKind
from segship.tests.models.flavour_files import (
    Tensors,
    tiny_spec,
    tiny_state,
    tiny_tensors,
    write_container,
)

FlavourFile = Callable[..., Path]
Refused = Callable[..., None]
NAMES = [flavour.name for flavour in FLAVOURS]
ORIGINAL = Eps(1e-5, 1e-5, 1e-6, 1e-6)


def _equal(left: Tensors, right: Tensors) -> bool:
    same_names = left.keys() == right.keys()
    return same_names and all(
        left[key].dtype == right[key].dtype and torch.equal(left[key], right[key]) for key in left
    )


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
    assert _equal(flavour.write(reading.tensors, reading.spec), stored)


@pytest.mark.parametrize("name", NAMES)
def test_the_canonical_tensors_are_those_that_were_written(name: str) -> None:
    flavour = flavour_named(name)
    spec = tiny_spec(flavour)
    state = tiny_state(flavour, spec)
    reading = flavour.read(flavour.write(state, spec))
    assert _equal(reading.tensors, state)
    assert reading.spec == spec


@pytest.mark.parametrize("name", NAMES)
def test_deeper_stages_and_other_classes(name: str) -> None:
    flavour = flavour_named(name)
    spec = replace(tiny_spec(flavour, classes=2), depths=(1, 3, 2, 11))
    state = tiny_state(flavour, spec)
    reading = flavour.read(flavour.write(state, spec))
    assert reading.spec == spec
    assert _equal(reading.tensors, state)


def test_the_newer_spelling_of_transformers_reads_the_same() -> None:
    flavour = flavour_named("hf")
    spec = tiny_spec(flavour)
    state = tiny_state(flavour, spec)
    reading = flavour.read(flavour.write(state, spec, SINCE_5_9))
    assert _equal(reading.tensors, state) and reading.layout is SINCE_5_9


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


# --- from a file -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_file_gives_the_model_it_was_written_from(name: str, flavour_file: FlavourFile) -> None:
    path = flavour_file(name, prefix="model.")
    flavour = flavour_named(name)
    checkpoint = load_checkpoint(path)
    assert _equal(dict(checkpoint.model.state_dict()), tiny_state(flavour, tiny_spec(flavour)))
    assert checkpoint.spec.provenance.flavour == name and checkpoint.path == path
    assert checkpoint.model.spec == checkpoint.spec and not checkpoint.model.training


@pytest.mark.parametrize(
    ("name", "eps", "stride", "corners"),
    [
        ("hf", Eps(), 4, False),
        ("nvlabs", ORIGINAL, 4, False),
        ("tao6", ORIGINAL, 4, False),
        ("mmseg", Eps(1e-6, 1e-6, 1e-6, 1e-6), 4, False),
        ("smp", ORIGINAL, 1, True),
        ("sithu", Eps(), 1, False),
        ("course", ORIGINAL, 1, False),
        ("segformer3d", ORIGINAL, 1, False),
        ("zuppichini", Eps(), 4, True),
    ],
)
def test_the_numbers_no_tensor_holds(
    name: str, eps: Eps, stride: int, corners: bool, flavour_file: FlavourFile
) -> None:
    checkpoint = load_checkpoint(flavour_file(name))
    spec, contract = checkpoint.spec, checkpoint.contract
    assert (spec.eps, spec.output_stride, spec.output_align_corners) == (eps, stride, corners)
    assert contract.align_corners is corners
    assert contract.output is (OutputKind.LOGITS_FULL if stride == 1 else OutputKind.LOGITS)
    head = spec.head
    assert (
        head.align_corners is head.norm_after_relu is spec.sr_at_ratio_1 is (name == "zuppichini")
    )
    assert head.fuse_bias is (name == "tao6")
    assert head.kind is (HeadKind.BRANCH_RELU if name == "mmseg" else HeadKind.LINEAR)


def test_segformer3d_has_two_heads_and_a_depth_contract(flavour_file: FlavourFile) -> None:
    checkpoint = load_checkpoint(flavour_file("segformer3d"))
    assert [(h.name, h.classes) for h in checkpoint.spec.heads] == [
        ("segmentation", 5),
        ("depth", 1),
    ]
    contract = checkpoint.contract
    assert contract.heads == ("segmentation", "depth")
    assert contract.depth_abs and contract.depth_scale == 10
    assert contract.channel_order is ChannelOrder.RGB and contract.threshold is None
    assert any("BGR" in note for note in checkpoint.notes)
    outputs = checkpoint.model(torch.zeros(1, 3, 64, 96))
    assert {name: tuple(out.shape) for name, out in outputs.items()} == {
        "segmentation": (1, 5, 64, 96),
        "depth": (1, 1, 64, 96),
    }


@pytest.mark.parametrize("name", NAMES)
def test_one_class_gets_a_threshold(name: str, flavour_file: FlavourFile) -> None:
    contract = load_checkpoint(flavour_file(name, classes=1)).contract
    assert contract.threshold == 0.5 and contract.num_classes == 2


def test_tao_images_are_prepared_its_way(flavour_file: FlavourFile) -> None:
    contract = load_checkpoint(flavour_file("tao6")).contract
    assert contract.mean == contract.std == (0.5, 0.5, 0.5)
    assert contract.resample is Resample.BICUBIC and contract.size_px == (256, 256)


def test_the_course_trains_with_its_own_mean(flavour_file: FlavourFile) -> None:
    contract = load_checkpoint(flavour_file("course", classes=3)).contract
    assert contract.mean == (0.485, 0.56, 0.406) and contract.size_px == (180, 320)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_computed_in_float32(name: str, tmp_path: Path) -> None:
    stored = {
        key: tensor.half() if tensor.is_floating_point() else tensor
        for key, tensor in tiny_tensors(name).items()
    }
    checkpoint = load_checkpoint(write_container(tmp_path, stored, name))
    assert {p.dtype for p in checkpoint.model.parameters()} == {torch.float32}
    assert any("float16" in note for note in checkpoint.notes)


# --- licence, settings -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nvlabs", "tao6", "mmseg", "smp", "sithu"])
def test_layouts_of_nvidia_weights_say_so(name: str, flavour_file: FlavourFile) -> None:
    note = load_checkpoint(flavour_file(name)).spec.provenance.licence_note
    assert "NVIDIA" in note and "no commercial use" in note


def test_a_stated_flavour_decides_between_two_that_look_alike(flavour_file: FlavourFile) -> None:
    path = flavour_file("sithu")
    assert any("--set flavour=nvlabs" in note for note in load_checkpoint(path).notes)
    stated = load_checkpoint(path, settings=parse_settings(["flavour=nvlabs"]))
    assert stated.spec.eps == ORIGINAL and stated.spec.output_stride == 4
    assert stated.spec.provenance.flavour == "nvlabs"
    assert not any("--set flavour" in note for note in stated.notes)
    original = flavour_file("nvlabs")
    other = load_checkpoint(original, settings=parse_settings(["flavour=sithu"]))
    assert other.spec.eps == Eps() and any("conv_seg" in note for note in other.notes)


def test_the_sidecar_is_read_and_the_command_line_goes_over_it(flavour_file: FlavourFile) -> None:
    path = flavour_file("smp")
    sidecar = path.with_name(f"{path.name}.segship.yaml")
    sidecar.write_text("eps: 1e-3\nsize: 64x96\n", encoding="utf-8")
    beside = load_checkpoint(path)
    assert beside.spec.eps.block == 1e-3 and beside.contract.size_px == (64, 96)
    over = load_checkpoint(path, settings=parse_settings(["eps=1e-4", "output_stride=4"]))
    assert over.spec.eps.block == 1e-4 and over.contract.size_px == (64, 96)
    assert over.contract.output is OutputKind.LOGITS
    assert any(n.startswith("set by") and "eps, size, output_stride" in n for n in over.notes)
    assert over.model.encoder.stages[0].norm.eps == 1e-4  # type: ignore[union-attr]  # a Stage


def test_stated_heads_help_where_the_widths_do_not(tmp_path: Path, refused: Refused) -> None:
    flavour = flavour_named("course")
    spec = replace(tiny_spec(flavour), widths=(8, 12, 24, 32), attention_heads=(2, 3, 4, 8))
    stored = flavour.write(tiny_state(flavour, spec), spec)
    path = write_container(tmp_path, stored, "odd")
    refused(path, "(8, 12, 24, 32)", "--set attention_heads=")
    stated = load_checkpoint(path, settings=parse_settings(["attention_heads=2,3,4,8"]))
    assert stated.spec.attention_heads == (2, 3, 4, 8)


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
