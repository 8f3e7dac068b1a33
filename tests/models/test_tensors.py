"""Weight files that are damaged, incomplete or of another model: one line, nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

EditJson = Callable[..., None]
Refused = Callable[..., None]
WEIGHTS = "model.safetensors"


def _change(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


# --- weights -------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0.0001, 0.3, 0.999])
def test_truncated_safetensors(kept: float, tiny: Path, refused: Refused) -> None:
    data = (tiny / WEIGHTS).read_bytes()
    (tiny / WEIGHTS).write_bytes(data[: int(len(data) * kept)])
    refused(tiny, "truncated or damaged", WEIGHTS, "download it again")


def test_empty_safetensors(tiny: Path, refused: Refused) -> None:
    (tiny / WEIGHTS).write_bytes(b"")
    refused(tiny, "truncated or damaged")


def test_a_git_lfs_pointer(tiny: Path, refused: Refused) -> None:
    (tiny / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    refused(tiny, "Git LFS pointer", "git lfs pull")


def test_missing_tensors_are_named_as_in_the_file(tiny: Path, refused: Refused) -> None:
    key = "segformer.encoder.block.1.0.mlp.dense1.weight"
    _change(tiny, lambda tensors: tensors.pop(key))
    refused(tiny, f"lacks {key!r}", "incomplete")


def test_a_missing_classifier(tiny: Path, refused: Refused) -> None:
    _change(tiny, lambda tensors: tensors.pop("decode_head.classifier.weight"))
    refused(tiny, "no usable 'decode_head.classifier.weight'")


def test_tensors_of_no_segformer(tiny: Path, refused: Refused) -> None:
    _change(tiny, lambda tensors: tensors.update({"segformer.pooler.weight": torch.zeros(3)}))
    refused(tiny, "also holds 'segformer.pooler.weight'")


def test_more_blocks_than_the_config_says(
    tiny: Path, edit_json: EditJson, refused: Refused
) -> None:
    edit_json(tiny / "config.json", depths=[1, 1, 1, 1])
    refused(tiny, "also holds 'segformer.encoder.block.1.1.", "belongs to another model")


def test_fewer_blocks_than_the_config_says(
    tiny: Path, edit_json: EditJson, refused: Refused
) -> None:
    edit_json(tiny / "config.json", depths=[2, 2, 1, 1])
    refused(tiny, "lacks 'segformer.encoder.block.0.1.")


def test_another_shape_than_the_config_says(
    tiny: Path, edit_json: EditJson, refused: Refused
) -> None:
    edit_json(tiny / "config.json", decoder_hidden_size=32)
    refused(tiny, "'decode_head.", "by config.json", "holds (16", "different models")


def test_both_spellings_of_one_tensor(tiny: Path, refused: Refused) -> None:
    def add(tensors: dict[str, Tensor]) -> None:
        old = tensors["segformer.encoder.layer_norm.0.bias"]
        tensors["segformer.stages.0.layer_norm.bias"] = old.clone()

    _change(tiny, add)
    refused(tiny, "in both spellings")


def test_weights_that_are_not_finite(tiny: Path, refused: Refused) -> None:
    _change(tiny, lambda tensors: tensors["decode_head.classifier.bias"].fill_(float("nan")))
    refused(tiny, "NaN or infinity", "classifier.bias")


def test_quantised_weights(tiny: Path, refused: Refused) -> None:
    key = "decode_head.classifier.weight"
    _change(tiny, lambda tensors: tensors.update({key: tensors[key].to(torch.int8)}))
    refused(tiny, "is torch.int8", "before quantisation")


# --- shards --------------------------------------------------------------------------------


def _index(folder: Path, table: Any) -> Path:
    (folder / WEIGHTS).rename(folder / "model-1.safetensors")
    index = folder / f"{WEIGHTS}.index.json"
    index.write_text(json.dumps({"weight_map": table}), encoding="utf-8")
    return folder


def test_a_missing_shard(tiny: Path, refused: Refused) -> None:
    refused(_index(tiny, {"a": "model-2.safetensors"}), "the shard model-2.safetensors", "missing")


def test_a_shard_outside_the_folder(tiny: Path, refused: Refused) -> None:
    outside = tiny.parent / "other.safetensors"
    save_file({"a": torch.zeros(1)}, outside)
    refused(_index(tiny, {"a": "../other.safetensors"}), "names '../other.safetensors'")


@pytest.mark.parametrize("table", [{}, [], None, {"a": 1}])
def test_an_index_without_a_map(table: Any, tiny: Path, refused: Refused) -> None:
    refused(_index(tiny, table), "shard index with a weight_map")


def test_a_tensor_the_shards_lack(tiny: Path, refused: Refused) -> None:
    refused(_index(tiny, {"a": "model-1.safetensors"}), "the shards lack 'a'")


def test_a_tensor_in_two_shards(tiny: Path, refused: Refused) -> None:
    folder = _index(tiny, {"a": "model-1.safetensors", "b": "model-2.safetensors"})
    data = (folder / "model-1.safetensors").read_bytes()
    (folder / "model-2.safetensors").write_bytes(data)
    refused(folder, "each tensor in one shard", "repeats")
