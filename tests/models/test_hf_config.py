"""What config.json and preprocessor_config.json become: specification, contract, notes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from segship.data.contract import Resample, ResizeRule
from segship.data.palette import default_palette
from segship.models.checkpoints import load_checkpoint
from segship.models.spec import HeadSpec

EditJson = Callable[..., None]


def _write_preprocessor(folder: Path, **values: Any) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(values), encoding="utf-8")


# --- config --------------------------------------------------------------------------------


def test_the_real_checkpoint_is_described_fully(camvid_checkpoint: Path) -> None:
    checkpoint = load_checkpoint(camvid_checkpoint)
    contract = checkpoint.contract
    assert checkpoint.spec.variant == "B0"
    assert checkpoint.spec.heads == (HeadSpec("segmentation", 11, 256),)
    assert contract.size_px == (360, 480) and contract.resize is ResizeRule.STRETCH
    assert contract.classes[0] == "sky" and contract.classes[10] == "bicyclist"
    assert contract.ignore_index == 11 and contract.scale == pytest.approx(1 / 255)
    assert contract.palette == tuple(default_palette(11))
    assert [note for note in checkpoint.notes if "layer_norm_eps 1e-06" in note]


def test_eps_of_the_config_is_ignored_as_transformers_does(tiny: Path, edit_json: EditJson) -> None:
    edit_json(tiny / "config.json", layer_norm_eps=0.5)
    checkpoint = load_checkpoint(tiny)
    assert {m.eps for m in checkpoint.model.modules() if isinstance(m, nn.LayerNorm)} == {1e-5}
    assert any("0.5" in note and "ignores it" in note for note in checkpoint.notes)


@pytest.mark.parametrize(
    ("labels", "names", "note"),
    [
        ({"0": "a", "1": "b", "2": "c"}, ("a", "b", "c"), None),
        ({"1": "a", "2": "b", "3": "c"}, ("a", "b", "c"), "has the ids 1 to 3 for 3 channels"),
        ({"7": "b", "0": "a", "9": "c"}, ("a", "b", "c"), "has the ids 0, 7, 9 for 3 channels"),
        ({"0": "a", "2": "c"}, ("a", "class_1", "c"), "names no class 1"),
        (None, ("class_0", "class_1", "class_2"), "no id2label"),
    ],
)
def test_class_names_are_arranged_and_the_arrangement_is_told(
    labels: dict[str, str] | None,
    names: tuple[str, ...],
    note: str | None,
    tiny: Path,
    edit_json: EditJson,
) -> None:
    edit_json(tiny / "config.json", id2label=labels)
    checkpoint = load_checkpoint(tiny)
    assert checkpoint.contract.classes == names
    told = [line for line in checkpoint.notes if "id2label" in line]
    assert (note is None and not told) or (note is not None and note in told[0])


def test_one_class_heads_get_a_threshold(
    hf_model: Callable[..., nn.Module], tmp_path: Path
) -> None:
    folder = tmp_path / "binary"
    hf_model(num_labels=1, id2label={0: "nail"}).save_pretrained(folder)  # type: ignore[operator]  # nn.Module does not declare it
    contract = load_checkpoint(folder).contract
    assert contract.threshold == 0.5 and contract.classes == ("nail",)
    assert len(contract.palette) == 1 and contract.num_classes == 2


def test_more_than_one_class_has_no_threshold(tiny: Path) -> None:
    assert load_checkpoint(tiny).contract.threshold is None


def test_the_cityscapes_list_gets_its_own_palette(
    hf_model: Callable[..., nn.Module], tmp_path: Path
) -> None:
    names = (
        "road sidewalk building wall fence pole traffic_light traffic_sign vegetation terrain sky "
        "person rider car truck bus train motorcycle bicycle"
    ).split()
    labels = {index: name.replace("_", " ") for index, name in enumerate(names)}
    folder = tmp_path / "city"
    hf_model(num_labels=19, id2label=labels).save_pretrained(folder)  # type: ignore[operator]  # nn.Module does not declare it
    palette = load_checkpoint(folder).contract.palette
    assert palette[0] == (128, 64, 128) and palette[10] == (70, 130, 180)
    assert palette != tuple(default_palette(19))


# --- preprocessor --------------------------------------------------------------------------


def test_without_preprocessor_the_defaults_are_assumed_and_told(tiny: Path) -> None:
    checkpoint = load_checkpoint(tiny)
    assert checkpoint.contract.size_px == (512, 512)
    assert checkpoint.contract.resample is Resample.BILINEAR
    assert any("no preprocessor_config.json" in note for note in checkpoint.notes)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (640, (640, 640)),
        ({"height": 180, "width": 320}, (180, 320)),
        ([180, 320], (180, 320)),
        ({"shortest_edge": 384}, (384, 384)),
    ],
)
def test_size_in_every_form(size: Any, expected: tuple[int, int], tiny: Path) -> None:
    _write_preprocessor(tiny, size=size)
    checkpoint = load_checkpoint(tiny)
    assert checkpoint.contract.size_px == expected
    keeps = isinstance(size, dict) and "shortest_edge" in size
    assert any("keeps the aspect ratio" in note for note in checkpoint.notes) is keeps


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"feature_extractor_type": "SegformerFeatureExtractor", "reduce_labels": True}, True),
        ({"image_processor_type": "SegformerImageProcessor", "do_reduce_labels": True}, True),
        ({"reduce_labels": True, "do_reduce_labels": False}, False),
        ({"reduce_labels": False}, False),
        ({}, False),
    ],
)
def test_label_reduction_in_both_spellings(
    values: dict[str, Any], expected: bool, tiny: Path
) -> None:
    _write_preprocessor(tiny, size=512, **values)
    checkpoint = load_checkpoint(tiny)
    assert checkpoint.contract.reduce_labels is expected
    assert any("labels are reduced" in note for note in checkpoint.notes) is expected


@pytest.mark.parametrize(
    ("number", "name"), [(0, Resample.NEAREST), (2, Resample.BILINEAR), (3, Resample.BICUBIC)]
)
def test_filters_by_their_pillow_number(number: int, name: Resample, tiny: Path) -> None:
    _write_preprocessor(tiny, size=512, resample=number)
    assert load_checkpoint(tiny).contract.resample is name


def test_steps_that_are_switched_off_stay_off(tiny: Path) -> None:
    _write_preprocessor(tiny, size=96, do_resize=False, do_rescale=False, do_normalize=False)
    contract = load_checkpoint(tiny).contract
    assert contract.resize is ResizeRule.NONE and contract.scale == 1.0
    assert contract.mean == (0.0, 0.0, 0.0) and contract.std == (1.0, 1.0, 1.0)


def test_mean_std_and_factor_are_those_of_the_file(tiny: Path) -> None:
    _write_preprocessor(
        tiny, size=96, image_mean=[0.1, 0.2, 0.3], image_std=0.5, rescale_factor=1 / 128
    )
    contract = load_checkpoint(tiny).contract
    assert contract.mean == (0.1, 0.2, 0.3) and contract.std == (0.5, 0.5, 0.5)
    assert contract.scale == 1 / 128


def test_a_preprocessor_of_another_model_is_told(tiny: Path) -> None:
    _write_preprocessor(
        tiny, size=96, image_processor_type="ViTImageProcessor", do_center_crop=True
    )
    notes = " ".join(load_checkpoint(tiny).notes)
    assert "ViTImageProcessor" in notes and "do_center_crop" in notes
