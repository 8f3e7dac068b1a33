"""What the Hugging Face reader makes of honest checkpoints, of every age and shape."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from segship.models.checkpoints import load_checkpoint, looks_like_checkpoint
from segship.models.checkpoints.hf_keys import canonical_name, hub_name
from segship.models.segformer import SegFormer
from segship.models.spec import ModelSpec

EditJson = Callable[..., None]
WEIGHTS = "model.safetensors"


def _same_model(left: SegFormer, right: SegFormer) -> bool:
    ours, theirs = left.state_dict(), right.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


# --- names ---------------------------------------------------------------------------------


def test_names_map_one_to_one_between_all_three_spellings(
    saved_tiny: tuple[nn.Module, Path],
) -> None:
    model, folder = saved_tiny
    canonical = set(load_checkpoint(folder).model.state_dict())
    hub, new = set(load_file(folder / WEIGHTS)), set(model.state_dict())
    assert hub != new
    assert {canonical_name(key) for key in hub} == canonical
    assert {canonical_name(key) for key in new} == canonical
    assert {hub_name(key) for key in canonical} == hub
    assert {hub_name(key, since_5_9=True) for key in canonical} == new


@pytest.mark.parametrize(
    "key",
    [
        "module.decode_head.classifier.weight",
        "segformer.encoder.block.0.0.attention.self.query.weight.extra",
        "segformer.encoder.patch_embeddings.x.proj.weight",
        "decode_head.linear_c.0.weight",
    ],
)
def test_near_misses_of_names_have_no_canonical_name(key: str) -> None:
    assert canonical_name(key) is None


# --- weights -------------------------------------------------------------------------------


def test_reading_keeps_every_tensor_and_says_where_it_came_from(tiny: Path) -> None:
    checkpoint = load_checkpoint(tiny)
    stored = load_file(tiny / WEIGHTS)
    read = checkpoint.model.state_dict()
    assert all(torch.equal(read[str(canonical_name(k))], v) for k, v in stored.items())
    assert not checkpoint.model.training
    assert not any(p.requires_grad for p in checkpoint.model.parameters())
    origin = checkpoint.spec.provenance
    assert origin.flavour == "hf" and origin.source == str(tiny) and checkpoint.path == tiny
    assert origin.sha256 == hashlib.sha256((tiny / WEIGHTS).read_bytes()).hexdigest()
    assert checkpoint.model.spec == checkpoint.spec


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_give_the_same_model_as_one_file(suffix: str, tiny: Path) -> None:
    whole = load_checkpoint(tiny).model
    tensors = load_file(tiny / WEIGHTS)
    (tiny / WEIGHTS).unlink()
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    where: dict[str, str] = {}
    for part in range(3):
        name = f"{stem}-{part + 1:05}-of-00003.{suffix}"
        chosen = {k: v for i, (k, v) in enumerate(sorted(tensors.items())) if i % 3 == part}
        _save(chosen, tiny / name)
        where |= dict.fromkeys(chosen, name)
    parts = set(where.values())
    index = tiny / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}), encoding="utf-8")
    sharded = load_checkpoint(tiny)
    assert _same_model(whole, sharded.model)
    lines = (f"{n}\0{hashlib.sha256((tiny / n).read_bytes()).hexdigest()}\n" for n in sorted(parts))
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert sharded.spec.provenance.sha256 == expected


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)


def test_one_file_of_a_folder_is_read_with_the_config_beside_it(tiny: Path) -> None:
    whole = load_checkpoint(tiny)
    torch.save(load_file(tiny / WEIGHTS), tiny / "epoch_7.pth")
    single = load_checkpoint(tiny / "epoch_7.pth")
    assert _same_model(whole.model, single.model)
    assert single.spec.provenance.source == str(tiny / "epoch_7.pth")
    assert single.path == tiny


def test_safetensors_are_preferred_to_bin(tiny: Path) -> None:
    (tiny / "pytorch_model.bin").write_bytes(b"never opened")
    assert load_checkpoint(tiny).spec.variant == "custom"


def test_half_precision_weights_become_float32_with_a_note(tiny: Path) -> None:
    exact = load_file(tiny / WEIGHTS)
    half = {k: v.to(torch.float16) if v.is_floating_point() else v for k, v in exact.items()}
    save_file(half, tiny / WEIGHTS)
    checkpoint = load_checkpoint(tiny)
    assert {p.dtype for p in checkpoint.model.parameters()} == {torch.float32}
    assert "weights are stored as float16; computed in float32" in checkpoint.notes
    weight = checkpoint.model.get_parameter("heads.segmentation.fuse.weight")
    assert torch.equal(weight, half["decode_head.linear_fuse.weight"].float())


def test_the_batch_counter_may_be_missing(tiny: Path) -> None:
    tensors = load_file(tiny / WEIGHTS)
    del tensors["decode_head.batch_norm.num_batches_tracked"]
    save_file(tensors, tiny / WEIGHTS)
    assert load_checkpoint(tiny).model is not None


# --- licence, names of sources -------------------------------------------------------------


def test_weights_that_descend_from_nvidia_say_so(tiny: Path, edit_json: EditJson) -> None:
    neutral = load_checkpoint(tiny).spec.provenance.licence_note
    assert "unknown" in neutral
    edit_json(tiny / "config.json", _name_or_path="nvidia/mit-b0")
    note = load_checkpoint(tiny).spec.provenance.licence_note
    assert "no commercial use" in note and note != neutral


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        ("license: apache-2.0", "licence apache-2.0 (base model: none)"),
        ("license: other\nlicense_name: street-1\nbase_model: me/mine", "licence street-1 (base"),
        ("license: mit\nbase_model: [nvidia/mit-b0]", "no commercial use"),
        ("license: [", "unknown"),
        ("- a list", "unknown"),
    ],
)
def test_the_model_card_is_read(tiny: Path, front: str, expected: str) -> None:
    (tiny / "README.md").write_text(f"---\n{front}\n---\n# Mine\n", encoding="utf-8")
    assert expected in load_checkpoint(tiny).spec.provenance.licence_note


def test_what_looks_like_a_checkpoint(tiny: Path, tmp_path: Path) -> None:
    onnx = tmp_path / "m.onnx"
    onnx.write_bytes(b"x")
    assert looks_like_checkpoint(tiny) and looks_like_checkpoint(tiny / WEIGHTS)
    assert looks_like_checkpoint("nvidia/segformer-b0-finetuned-ade-512-512")
    assert not looks_like_checkpoint(onnx)
    assert not looks_like_checkpoint("runs/missing.onnx")
    assert not looks_like_checkpoint("no_such_thing")


def test_a_specification_survives_json(tiny: Path) -> None:
    spec = load_checkpoint(tiny).spec
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
