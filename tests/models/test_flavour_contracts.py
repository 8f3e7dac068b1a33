"""What a file of each flavour becomes: model, numbers, contract, licence, stated settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from segship.data.contract import ChannelOrder, OutputKind, Resample
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.flavours import FLAVOURS, flavour_named
from segship.models.checkpoints.settings import parse_settings
from segship.models.spec import Eps, HeadKind
from segship.tests.models.flavour_files import (
    same_tensors,
    tiny_spec,
    tiny_state,
    tiny_tensors,
    write_container,
)

FlavourFile = Callable[..., Path]
Refused = Callable[..., None]
NAMES = [flavour.name for flavour in FLAVOURS]
ORIGINAL = Eps(1e-5, 1e-5, 1e-6, 1e-6)


# --- from a file -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_file_gives_the_model_it_was_written_from(name: str, flavour_file: FlavourFile) -> None:
    path = flavour_file(name, prefix="model.")
    flavour = flavour_named(name)
    checkpoint = load_checkpoint(path)
    assert same_tensors(
        dict(checkpoint.model.state_dict()), tiny_state(flavour, tiny_spec(flavour))
    )
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
