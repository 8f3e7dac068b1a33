"""The reader against the real class of segmentation_models_pytorch, where it is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from segship.models.checkpoints import load_checkpoint
from segship.tests.models.foreign.tiny import relative

NAMES = (
    "b0",
    "b0-quiet",
    "b0-with-classifier",
    "b1-narrow-binary",
    "b1-narrow-binary-quiet",
)
TOLERANCE = 1e-5  # of the largest reference logit; the note measures 5e-7 to 1e-6


@pytest.fixture(scope="module")
def witnesses(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what the real class computed, in a process of its own."""
    library = repository / ".venv" / "smp"
    if not (library / "segmentation_models_pytorch").is_dir():
        pytest.skip("needs segmentation_models_pytorch in .venv/smp: make smp")
    folder = tmp_path_factory.mktemp("smp")
    module = "segship.tests.models.foreign.smp_witness"
    command = [sys.executable, "-m", module, str(library), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("stored", ["weights.pth", "hub"], ids=["state-dict", "save-pretrained"])
@pytest.mark.parametrize("name", NAMES)
def test_the_reader_computes_what_the_real_class_computes(
    name: str, stored: str, witnesses: Path
) -> None:
    witness = torch.load(witnesses / name / "witness.pt", weights_only=True)
    checkpoint = load_checkpoint(witnesses / name / stored)
    assert checkpoint.spec.provenance.flavour.startswith("smp")
    want = witness["output"]
    with torch.inference_mode():
        got = checkpoint.model(witness["image"])["segmentation"]
    if got.shape != want.shape:
        corners = checkpoint.contract.align_corners
        got = functional.interpolate(got, want.shape[2:], mode="bilinear", align_corners=corners)
    assert relative(got, want) <= TOLERANCE


def test_unaligned_corners_would_be_seen(witnesses: Path) -> None:
    witness = torch.load(witnesses / "b0" / "witness.pt", weights_only=True)
    model = load_checkpoint(witnesses / "b0" / "weights.pth").model
    with torch.inference_mode():
        quarter = model.heads["segmentation"](model.encoder(witness["image"]))
    size = witness["output"].shape[2:]
    unaligned = functional.interpolate(quarter, size, mode="bilinear", align_corners=False)
    assert relative(unaligned, witness["output"]) > 1e-2  # a thousand times the tolerance
