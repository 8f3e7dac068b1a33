"""Files that are damaged, incomplete or of another network: one line that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.flavours import FLAVOURS
from segship.tests.models.flavour_files import (
    tiny_tensors,
    write_container,
)

Refused = Callable[..., None]
NAMES = [flavour.name for flavour in FLAVOURS]
CLASSIFIERS = {
    "hf": "decode_head.classifier.",
    "nvlabs": "decode_head.linear_pred.",
    "tao6": "decoder.linear_pred.",
    "mmseg": "decode_head.conv_seg.",
    "smp": "segmentation_head.0.",
    "sithu": "decode_head.linear_pred.",
    "course": "decoder_head.linear_pred.",
    "segformer3d": "decoder_head.linear_pred.",
    "zuppichini": "head.predict.",
}


# --- missing, misshapen ----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_tensor_is_named_as_in_the_file(
    name: str, tmp_path: Path, refused: Refused
) -> None:
    """Every 12th key, under a prefix; losing a counter or an unused tensor is no loss."""
    stored = {f"model.{key}": value for key, value in tiny_tensors(name).items()}
    needed = [
        k for k in stored if "num_batches" not in k and (name, "conv_seg" in k) != ("nvlabs", True)
    ]
    for key in needed[::12]:
        rest = {other: tensor for other, tensor in stored.items() if other != key}
        refused(write_container(tmp_path, rest, "part"), repr(key), "incomplete")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_classifier_is_named(name: str, tmp_path: Path, refused: Refused) -> None:
    gone = CLASSIFIERS[name]
    rest = {k: v for k, v in tiny_tensors(name).items() if not k.startswith(gone)}
    refused(write_container(tmp_path, rest, "part"), "lacks", f"{gone}weight")


@pytest.mark.parametrize("name", NAMES)
def test_a_misshapen_tensor_is_named(name: str, tmp_path: Path, refused: Refused) -> None:
    stored = tiny_tensors(name)
    keys = [k for k, v in stored.items() if v.ndim and (name, "conv_seg" in k) != ("nvlabs", True)]
    for key in keys[5::14]:
        wrong = {**stored, key: torch.cat([stored[key]] * 3).flatten()}
        refused(write_container(tmp_path, wrong, "wrong"), repr(key), "shape")


def test_batch_counters_may_be_missing(tmp_path: Path) -> None:
    stored = {k: v for k, v in tiny_tensors("mmseg").items() if "num_batches" not in k}
    assert load_checkpoint(write_container(tmp_path, stored, "old")).spec.head.width == 16


@pytest.mark.parametrize("name", NAMES)
def test_four_input_channels_are_refused(name: str, tmp_path: Path, refused: Refused) -> None:
    stored = tiny_tensors(name, in_channels=4)
    refused(write_container(tmp_path, stored, "rgbd"), "3 channels", "takes 4", "--module")


# --- what no reader takes --------------------------------------------------------------------


def _mit(prefix: str = "") -> dict[str, torch.Tensor]:
    stored = tiny_tensors("nvlabs").items()
    return {
        f"{prefix}{key.removeprefix('backbone.')}": tensor
        for key, tensor in stored
        if key.startswith("backbone.")
    }


def _named(*names: str) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(2, 2) for name in names}


REFUSALS = [
    ("mit_b0.pth", {**_mit(), **_named("head.weight", "head.bias")}, ("only an encoder", "mit_b")),
    ("bare encoder", _mit("backbone."), ("only an encoder", "fine-tuned for segmentation")),
    (
        "hf classifier",
        {
            **{k: v for k, v in tiny_tensors("hf").items() if k.startswith("segformer.")},
            **_named("classifier.weight", "classifier.bias"),
        },
        ("only an encoder", "image classifier"),
    ),
    (
        "lucidrains",
        _named("mit.stages.0.1.weight", "to_fused.0.0.weight", "to_segmentation.0.weight"),
        ("lucidrains", "--module file.py:Class"),
    ),
    (
        "smp resnet",
        _named(
            "encoder.conv1.weight",
            "encoder.layer1.0.conv1.weight",
            "decoder.mlp_stage.0.linear.weight",
            "segmentation_head.0.weight",
        ),
        ("segmentation_models_pytorch", "encoder.conv1", "mit_b0", "--module"),
    ),
    (
        "tao fan",
        _named(
            "model.backbone.blocks.0.norm1.weight",
            "model.decoder.linear_fuse.0.weight",
            "model.decoder.linear_pred.weight",
        ),
        ("NVIDIA TAO", "backbone.blocks.0", "--module"),
    ),
    (
        "sithu convnext",
        _named("backbone.stages.0.0.weight", "decode_head.linear_pred.weight"),
        ("Mix Transformer", "backbone.stages.0.0", "--module"),
    ),
    (
        "smp unet on mit",
        {
            **_mit("encoder."),
            **_named("decoder.blocks.0.conv.weight", "segmentation_head.0.weight"),
        },
        ("decoder.mlp_stage.", "--module"),
    ),
    (
        "deeplab",
        _named("backbone.conv1.weight", "classifier.0.weight"),
        ("decode_head.classifier.… (hf)", "'backbone.conv1.weight'", "--module"),
    ),
]


@pytest.mark.parametrize(
    ("stored", "parts"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_networks_of_others_are_refused_with_advice(
    stored: dict[str, torch.Tensor], parts: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    refused(write_container(tmp_path, stored, "other"), *parts)


@pytest.mark.parametrize(("suffix", "kind"), [("h5", "TensorFlow"), ("msgpack", "Flax")])
def test_files_of_other_frameworks(
    suffix: str, kind: str, tmp_path: Path, refused: Refused
) -> None:
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(b"x")
    refused(path, f"holds {kind}", "transformers 4")
