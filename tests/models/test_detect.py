"""Exactly one flavour claims a file, under any prefix; folders of it are read whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from segship.common.errors import InputError
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.detect import identify, remarks
from segship.models.checkpoints.flavours import FLAVOURS, flavour_named
from segship.models.checkpoints.settings import parse_settings
from segship.tests.models.flavour_files import (
    CONTAINERS,
    tiny_spec,
    tiny_state,
    tiny_tensors,
    write_container,
)

FlavourFile = Callable[..., Path]
Refused = Callable[..., None]
EditJson = Callable[..., None]
NAMES = [flavour.name for flavour in FLAVOURS]
PREFIXES = (
    "",
    "model.",
    "model.segformer.",
    "module.",
    "module.model.",
    "_orig_mod.",
    "model._orig_mod.",
    "net.segformer_model.",
    "ema.module.",
)


# --- one flavour -----------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", NAMES)
def test_exactly_one_flavour_claims_a_file(name: str, prefix: str) -> None:
    keys = [f"{prefix}{key}" for key in tiny_tensors(name)]
    match = identify(keys)
    assert (match.flavour.name, match.prefix) == (name, prefix)
    bare = [key[len(prefix) :] for key in keys]
    assert [flavour.name for flavour in FLAVOURS if flavour.claims(bare)] == [name]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", ["hf", "mmseg", "segformer3d"])
def test_every_container_gives_the_same_model(
    name: str, container: str, flavour_file: FlavourFile
) -> None:
    flavour = flavour_named(name)
    want = tiny_state(flavour, tiny_spec(flavour))
    got = load_checkpoint(flavour_file(name, container=container, prefix="net.")).model.state_dict()
    assert got.keys() == want.keys() and all(torch.equal(got[key], want[key]) for key in want)


def test_tensors_of_losses_and_metrics_are_reported(flavour_file: FlavourFile) -> None:
    extra = {
        "val_iou.confmat": torch.zeros(5, 5, dtype=torch.int64),
        "criterion.weight": torch.full((5,), float("nan")),
        "model.auxiliary.0.weight": torch.zeros(2),
    }
    checkpoint = load_checkpoint(flavour_file("nvlabs", prefix="model.", extra=extra))
    (note,) = (note for note in checkpoint.notes if "no part of the network" in note)
    assert "'criterion.weight'" in note and "1 more" in note


def test_unknown_names_inside_the_network_are_refused(
    flavour_file: FlavourFile, refused: Refused
) -> None:
    extra = {"model.backbone.block1.0.attn.relative.weight": torch.zeros(2)}
    path = flavour_file("nvlabs", prefix="model.", extra=extra)
    refused(path, "'model.backbone.block1.0.attn.relative.weight'", "changed network", "--module")


# --- two models in one file ------------------------------------------------------------------


def test_an_averaged_copy_is_left_out_and_can_be_chosen(flavour_file: FlavourFile) -> None:
    copy = {f"model_ema.module.{key}": value for key, value in tiny_tensors("tao6", seed=9).items()}
    path = flavour_file("tao6", prefix="model.", extra=copy)
    flavour = flavour_named("tao6")
    plain = load_checkpoint(path)
    name = "heads.segmentation.fuse.weight"
    first, second = (tiny_state(flavour, tiny_spec(flavour), seed)[name] for seed in (3, 9))
    assert torch.equal(plain.model.state_dict()[name], first)
    assert any("--set prefix=model_ema.module." in note for note in plain.notes)
    for written in ("model_ema.module.", "model_ema.module"):
        other = load_checkpoint(path, settings=parse_settings([f"prefix={written}"]))
        assert torch.equal(other.model.state_dict()[name], second)


def test_two_models_need_a_choice(flavour_file: FlavourFile, refused: Refused) -> None:
    teacher = {f"teacher.{key}": value for key, value in tiny_tensors("mmseg").items()}
    path = flavour_file("hf", prefix="student.", extra=teacher)
    refused(path, "'student.'", "'teacher.'", "holds 2", "--set prefix=student.")
    chosen = load_checkpoint(path, settings=parse_settings(["prefix=teacher."]))
    assert chosen.spec.provenance.flavour == "mmseg"
    with pytest.raises(InputError, match=r"'other'.*'student.', 'teacher.'"):
        load_checkpoint(path, settings=parse_settings(["prefix=other"]))


def test_a_flavour_that_is_not_there(flavour_file: FlavourFile) -> None:
    path = flavour_file("hf")
    with pytest.raises(InputError, match="flavour mmseg .*decode_head.conv_seg"):
        load_checkpoint(path, settings=parse_settings(["flavour=mmseg"]))
    with pytest.raises(InputError, match="a flavour of hf, nvlabs"):
        load_checkpoint(path, settings=parse_settings(["flavour=unet"]))


def test_remarks_are_empty_for_a_plain_file() -> None:
    keys = list(tiny_tensors("smp"))
    assert remarks(identify(keys), keys) == ()


# --- folders ---------------------------------------------------------------------------------


def _smp_folder(tmp_path: Path, edit_json: EditJson, **changes: object) -> Path:
    folder = tmp_path / "smp"
    folder.mkdir()
    write_container(folder, tiny_tensors("smp"), "model", "safetensors")
    config = {
        "_model_class": "Segformer",
        "encoder_name": "mit_b0",
        "in_channels": 3,
        "classes": 5,
        "activation": "sigmoid",
        "decoder_segmentation_channels": 16,
        "upsampling": 4,
    }
    edit_json(folder / "config.json", **{**config, **changes})
    return folder


def test_a_hub_folder_of_smp(tmp_path: Path, edit_json: EditJson) -> None:
    checkpoint = load_checkpoint(_smp_folder(tmp_path, edit_json))
    assert checkpoint.spec.provenance.flavour == "smp" and checkpoint.path == tmp_path / "smp"
    assert any("'sigmoid'" in note for note in checkpoint.notes)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"encoder_name": "resnet34"}, ("'resnet34'", "mit_b0 to mit_b5")),
        ({"_model_class": "Unet"}, ("'Unet'", "--module")),
        ({"classes": 4}, ("classes 5 by the weights", "says 4")),
        ({"upsampling": 8}, ("upsampling 4", "says 8")),
    ],
)
def test_a_hub_folder_of_smp_that_is_no_segformer(
    changes: dict[str, object],
    parts: tuple[str, ...],
    tmp_path: Path,
    edit_json: EditJson,
    refused: Refused,
) -> None:
    refused(_smp_folder(tmp_path, edit_json, **changes), *parts)


def test_a_folder_with_one_weights_file(flavour_file: FlavourFile) -> None:
    path = flavour_file("zuppichini", container="lightning")
    (path.parent / "optimizer.pt").write_bytes(b"not a model")
    checkpoint = load_checkpoint(path.parent)
    assert checkpoint.spec.provenance.flavour == "zuppichini"


def test_a_config_of_another_kind_beside_the_file_is_not_used(
    flavour_file: FlavourFile, edit_json: EditJson
) -> None:
    path = flavour_file("course")
    edit_json(path.parent / "config.json", model_type="something")
    assert any("not used" in note for note in load_checkpoint(path).notes)


@pytest.mark.parametrize("since_5_9", [False, True])
def test_a_lightning_file_around_transformers(
    since_5_9: bool, tmp_path: Path, saved_tiny: tuple[torch.nn.Module, Path]
) -> None:
    from safetensors.torch import load_file

    model, folder = saved_tiny
    names = model.state_dict() if since_5_9 else load_file(folder / "model.safetensors")
    stored = {f"model.segformer.{key}": value for key, value in names.items()}
    checkpoint = load_checkpoint(write_container(tmp_path, stored, "nail", "lightning"))
    by_config = load_checkpoint(folder)
    got, want = checkpoint.model.state_dict(), by_config.model.state_dict()
    assert all(torch.equal(got[key], want[key]) for key in want) and got.keys() == want.keys()
    assert checkpoint.spec.depths == (1, 2, 1, 1) and checkpoint.spec.eps == by_config.spec.eps
    assert any("fixed size" in note for note in checkpoint.notes)
