"""How images are prepared and classes named where no tensor says it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segship.common.errors import InputError
from segship.data.contract import ChannelOrder, Contract, Resample
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.file_meta import class_names, config_fields, palette
from segship.models.checkpoints.flavours import FLAVOURS
from segship.models.checkpoints.label_sets import LABEL_SETS
from segship.models.checkpoints.presets import PRESETS, preset_named
from segship.models.checkpoints.settings import parse_settings

FlavourFile = Callable[..., Path]
IMAGENET_STD = (0.229, 0.224, 0.225)


# --- presets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_every_preset_makes_a_contract(preset: Any) -> None:
    contract = Contract(**preset.fields)
    assert preset_named(preset.name) is preset and preset.title
    assert contract.scale == 1 / 255


def test_every_flavour_has_a_preset() -> None:
    assert {preset_named(flavour.preset).name for flavour in FLAVOURS} == {
        "imagenet",
        "course",
        "tao",
        "segformer3d",
    }


def test_presets_differ_where_their_authors_do() -> None:
    course, video = preset_named("course").fields, preset_named("segformer3d-video").fields
    assert course["mean"] == (0.485, 0.56, 0.406) and course["std"] == IMAGENET_STD
    assert video["channel_order"] is ChannelOrder.BGR and video["depth_scale"] == 10
    plain = preset_named("div255-nearest").fields
    assert plain["mean"] == (0, 0, 0) and plain["std"] == (1, 1, 1)
    assert plain["resample"] is Resample.NEAREST


def test_a_stated_preset_decides(flavour_file: FlavourFile) -> None:
    path = flavour_file("hf", classes=8, container="model_state_dict")
    usual = load_checkpoint(path)
    assert usual.contract.mean == (0.485, 0.456, 0.406)
    assert any("--set preset=div255-nearest" in note for note in usual.notes)
    stated = load_checkpoint(path, settings=parse_settings(["preset=div255-nearest"]))
    assert stated.contract.std == (1, 1, 1) and stated.contract.resample is Resample.NEAREST
    assert any("preset div255-nearest" in n and "as stated" in n for n in stated.notes)
    with pytest.raises(InputError, match="a preset of imagenet, course"):
        load_checkpoint(path, settings=parse_settings(["preset=none"]))


def test_the_notes_say_which_preset_was_taken(flavour_file: FlavourFile) -> None:
    for name, preset in (("course", "course"), ("tao6", "tao"), ("smp", "imagenet")):
        notes = load_checkpoint(flavour_file(name)).notes
        assert any(f"preset {preset} " in note for note in notes)


# --- beside the tensors ----------------------------------------------------------------------


@pytest.mark.parametrize("container", ["mmcv", "mmengine"])
@pytest.mark.parametrize("name", ["nvlabs", "mmseg"])
def test_classes_colours_and_crop_size_come_from_the_file(
    name: str, container: str, flavour_file: FlavourFile
) -> None:
    checkpoint = load_checkpoint(flavour_file(name, container=container))
    contract = checkpoint.contract
    assert contract.classes == tuple(f"thing {index}" for index in range(5))
    assert contract.palette[3] == (3, 6, 252)
    assert contract.size_px == (96, 128)
    assert any("from the config in the file: size_px" in note for note in checkpoint.notes)
    assert not any("no class names" in note or "input 96" in note for note in checkpoint.notes)


def test_a_config_text_states_preprocessing() -> None:
    text = """
    img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=False)
    crop_size = (512, 1024)
    train = dict(type='LoadAnnotations', reduce_zero_label=True)
    test_cfg = dict(mode='slide', crop_size=(512, 1024), stride=(384, 768))
    """
    fields, notes = config_fields({"meta": {"config": text}})
    assert fields["mean"] == pytest.approx((0.485, 0.456, 0.406))
    assert fields["std"] == pytest.approx((0.229, 0.224, 0.225))
    assert fields["size_px"] == (512, 1024) and fields["reduce_labels"] is True
    assert fields["channel_order"] is ChannelOrder.BGR
    assert "size_px" in notes[0] and "sliding windows" in notes[1]
    as_json = '{"crop_size": [64, 96], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}'
    fields, _ = config_fields({"meta": {"cfg": as_json}})
    assert fields == {"size_px": (64, 96), "mean": (0.5,) * 3, "std": (0.5,) * 3}


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"meta": None},
        {"meta": "text"},
        {"meta": {"config": None, "cfg": 3}},
        {"meta": {"config": "crop_size=512, mean=[1, 2]"}},
        {"meta": {"CLASSES": 5, "PALETTE": "red", "dataset_meta": []}},
        {"meta": {"CLASSES": [1, 2, 3], "PALETTE": [[1, 2], [3, 4, 5], [0, 0, 256]]}},
        {"hyper_parameters": {"id2label": {"a": "b"}}},
    ],
)
def test_values_of_no_use_are_passed_over(meta: dict[str, Any]) -> None:
    assert config_fields(meta) == ({}, ())
    names, notes = class_names(meta, 3)
    assert names == ("class_0", "class_1", "class_2") and "--set classes" in notes[-1]
    assert len(palette(meta, names)) == 3


def test_absurd_numbers_in_a_config_are_no_crash() -> None:
    zero = "crop_size=(0, 0) mean=[0, 0, 0] std=[0, 0, 0]"
    assert config_fields({"meta": {"config": zero}})[0] == {}


def test_lightning_may_name_the_classes() -> None:
    meta = {"hyper_parameters": {"id2label": {"1": "nail", "0": "skin"}}}
    assert class_names(meta, 2) == (("skin", "nail"), ())


def test_another_number_of_names_is_not_used() -> None:
    names, notes = class_names({"meta": {"CLASSES": ["a", "b"]}}, 1)
    assert names == ("foreground",) and "names 2 classes for 1 outputs" in notes[0]


@pytest.mark.parametrize(("classes", "name"), [(19, "Cityscapes"), (150, "ADE20K")])
def test_well_known_label_sets_only_lend_names(
    classes: int, name: str, flavour_file: FlavourFile
) -> None:
    assert LABEL_SETS[classes][0] == name and len(set(LABEL_SETS[classes][1])) == classes
    checkpoint = load_checkpoint(flavour_file("mmseg", classes=classes))
    assert checkpoint.contract.classes == LABEL_SETS[classes][1]
    assert not checkpoint.contract.reduce_labels
    assert any(f"named as {name}'s" in note for note in checkpoint.notes)
