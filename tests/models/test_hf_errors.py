"""Everything that is no readable SegFormer gives one line, exit code 2, and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from segship.models.checkpoints import load_checkpoint

EditJson = Callable[..., None]
Refused = Callable[..., None]
WEIGHTS = "model.safetensors"


# --- what the path names -------------------------------------------------------------------


def test_a_missing_path(tmp_path: Path, refused: Refused) -> None:
    refused(tmp_path / "nothing" / "here", "does not exist", "check the path", watch=tmp_path)


def test_a_directory_that_is_no_checkpoint(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "picture.png").write_bytes(b"x")
    refused(tmp_path, "has no config.json", "save_pretrained")


def test_a_file_of_another_kind(tmp_path: Path, refused: Refused) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"x")
    refused(file, "is a .onnx", ".safetensors")


def test_two_weights_files_without_config(tiny: Path, refused: Refused) -> None:
    (tiny / "config.json").unlink()
    (tiny / WEIGHTS).rename(tiny / "a.safetensors")
    (tiny / "b.pth").write_bytes(b"x")
    refused(tiny, "one weights file", "found 2 (a.safetensors, b.pth)", "name the file")


def test_a_folder_without_weights(tiny: Path, refused: Refused) -> None:
    (tiny / WEIGHTS).unlink()
    refused(tiny, "model.safetensors or pytorch_model.bin", "found neither")


@pytest.mark.parametrize("name", ["tf_model.h5", "flax_model.msgpack"])
def test_tensorflow_and_flax_only(name: str, tiny: Path, refused: Refused) -> None:
    (tiny / WEIGHTS).rename(tiny / name)
    refused(tiny, f"holds only {name}", "transformers 4")


# --- config.json ---------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{", "", "\xff"])
def test_a_damaged_config(text: str, tiny: Path, refused: Refused) -> None:
    (tiny / "config.json").write_bytes(text.encode("latin-1"))
    refused(tiny, "Expected JSON", "config.json")


def test_a_config_that_is_no_object(tiny: Path, refused: Refused) -> None:
    (tiny / "config.json").write_text("[]", encoding="utf-8")
    refused(tiny, "Expected a JSON object", "list")


@pytest.mark.parametrize("kind", ["mask2former", None])
def test_another_model_type(
    kind: str | None, tiny: Path, edit_json: EditJson, refused: Refused
) -> None:
    edit_json(tiny / "config.json", model_type=kind)
    refused(tiny, "Expected model_type 'segformer'", f"got {kind!r}")


def test_an_image_classifier(tiny: Path, edit_json: EditJson, refused: Refused) -> None:
    edit_json(tiny / "config.json", architectures=["SegformerForImageClassification"])
    refused(tiny, "got SegformerForImageClassification", "no decode head")


def test_a_real_encoder_only_checkpoint(
    tmp_path: Path, edit_json: EditJson, refused: Refused
) -> None:
    from transformers import SegformerConfig, SegformerForImageClassification

    config = SegformerConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1])
    SegformerForImageClassification(config).save_pretrained(tmp_path / "mit")
    refused(tmp_path / "mit", "SegformerForImageClassification", "no decode head")
    edit_json(tmp_path / "mit" / "config.json", architectures=None)
    refused(tmp_path / "mit", "holds only an encoder", "no decode_head tensors")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'gelu'"),
        ({"num_encoder_blocks": 5}, "4 encoder blocks"),
        ({"num_channels": 4}, "3 input channels"),
        ({"depths": [1, 2, 1]}, "depths in config.json, but got [1, 2, 1]"),
        ({"sr_ratios": "8421"}, "sr_ratios in config.json"),
        ({"strides": [4, 2, 2, 0]}, "strides in config.json"),
        ({"num_attention_heads": [1, 2, 5, 4]}, "divisible by its attention heads"),
        ({"decoder_hidden_size": -1}, "decoder_hidden_size"),
        ({"semantic_loss_ignore_index": "none"}, "semantic_loss_ignore_index"),
        ({"id2label": {"first": "a"}}, "id2label to map whole numbers"),
    ],
)
def test_values_no_segformer_has(
    changes: dict[str, Any], part: str, tiny: Path, edit_json: EditJson, refused: Refused
) -> None:
    edit_json(tiny / "config.json", **changes)
    refused(tiny, part)


@pytest.mark.parametrize(
    ("changes", "declared"),
    [
        ({"id2label": {"0": "a", "1": "b"}}, 2),
        ({"id2label": {str(index): "x" for index in range(5)}}, 5),
        ({"id2label": {"0": "a", "9": "b"}}, 2),
        ({"id2label": None, "num_labels": 7}, 7),
    ],
)
def test_another_number_of_classes_than_channels(
    changes: dict[str, Any], declared: int, tiny: Path, edit_json: EditJson, refused: Refused
) -> None:
    edit_json(tiny / "config.json", **changes)
    refused(tiny, "channels (3)", f"declares {declared}", "different models")


# --- preprocessor_config.json --------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"size": {"longest_edge": 512}}, "size as a number or height and width"),
        ({"size": [512, 512, 3]}, "size as a number or height and width"),
        ({"size": 0}, "size as a number or height and width"),
        ({"resample": 1}, "but got 1"),
        ({"resample": "bilinear"}, "but got 'bilinear'"),
        ({"rescale_factor": 0}, "positive rescale_factor"),
        ({"image_mean": [0.5, 0.5]}, "three numbers as image_mean"),
        ({"image_std": ["a", "b", "c"]}, "three numbers as image_std"),
        ({"image_std": [0, 1, 1]}, "positive std"),
    ],
)
def test_preprocessing_no_contract_can_hold(
    values: dict[str, Any], part: str, tiny: Path, refused: Refused
) -> None:
    (tiny / "preprocessor_config.json").write_text(json.dumps(values), encoding="utf-8")
    refused(tiny, part)


def test_the_undamaged_checkpoint_of_these_tests_loads(saved_tiny: tuple[nn.Module, Path]) -> None:
    assert load_checkpoint(saved_tiny[1]).spec.depths == (1, 2, 1, 1)
