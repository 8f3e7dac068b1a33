"""Weights of transformers' class saved as people save them: bare, renamed, under prefixes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from segship.models.checkpoints import load_checkpoint
from segship.tests.models.foreign.lightning import HphuongdhspWrapper
from segship.tests.models.foreign.tiny import one_thread, pixels, relative, shaken

HfModel = Callable[..., nn.Module]
TOLERANCE = 1e-5  # of the largest reference logit
PREFIXES = ["model.", "module.", "model.segformer.", "_orig_mod.", "ema.module.", "net.x_model."]
B2_LIKE = {"depths": [3, 4, 6, 3], "decoder_hidden_size": 24}


@pytest.fixture(autouse=True)
def single_threaded() -> Iterator[None]:
    """These networks are too small for two threads."""
    with one_thread():
        yield


def _hub_names(model: nn.Module, folder: Path) -> dict[str, Tensor]:
    """Return the tensors under the names transformers writes to disk."""
    model.save_pretrained(folder / "hub")  # type: ignore[operator]  # nn.Module does not declare it
    return load_file(folder / "hub" / "model.safetensors")


def _error(reference: nn.Module, path: Path, size_px: tuple[int, int] = (75, 133)) -> float:
    image = pixels(2, *size_px)
    checkpoint = load_checkpoint(path)
    assert checkpoint.spec.provenance.flavour.startswith("hf")
    with torch.inference_mode():
        want = reference(pixel_values=image).logits
        return relative(checkpoint.model(image)["segmentation"], want)


@pytest.mark.parametrize("hub", [False, True], ids=["5.9-names", "hub-names"])
@pytest.mark.parametrize("size", ["B0", "B2-like"])
def test_a_bare_state_dict_is_read(
    size: str, hub: bool, hf_model: HfModel, hf_variant: HfModel, tmp_path: Path
) -> None:
    model = hf_variant("B0") if size == "B0" else hf_model(**B2_LIKE)
    state = _hub_names(model, tmp_path) if hub else model.state_dict()
    assert ("segformer.encoder.patch_embeddings.0.proj.weight" in state) is hub
    torch.save(state, tmp_path / "weights.pt")
    assert _error(model, tmp_path / "weights.pt") <= TOLERANCE


@pytest.mark.parametrize("hub", [False, True], ids=["5.9-names", "hub-names"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_makes_no_difference(
    prefix: str, hub: bool, saved_tiny: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    model, folder = saved_tiny
    state = load_file(folder / "model.safetensors") if hub else model.state_dict()
    tensors = {prefix + key: tensor for key, tensor in state.items()}
    tensors["val_iou.confmat"] = torch.zeros(3, 3)  # what a metric of the training loop leaves
    torch.save(tensors, tmp_path / "weights.pt")
    assert _error(model, tmp_path / "weights.pt") <= TOLERANCE


def test_a_lightning_file_around_a_wrapper_is_read(tmp_path: Path) -> None:
    """The wrapper's fixed output size is its own; the logits under it are ours."""
    net = shaken(HphuongdhspWrapper(side_px=96))
    state = net.state_dict()
    assert all(key.startswith("model.segformer.") for key in state)
    lightning = {
        "state_dict": state,
        "hyper_parameters": {"lr": 1e-4},
        "pytorch-lightning_version": "2.1.0",
        "epoch": 3,
        "global_step": 100,
    }
    torch.save(lightning, tmp_path / "last.ckpt")
    checkpoint, image = load_checkpoint(tmp_path / "last.ckpt"), pixels(2, 75, 133)
    assert checkpoint.contract.threshold is not None  # one class: a cut, never an argmax
    with torch.inference_mode():
        ours = checkpoint.model(image)["segmentation"]
        fixed = nn.functional.interpolate(ours, (96, 96), mode="bilinear")
        assert relative(fixed, net(image)) <= TOLERANCE
