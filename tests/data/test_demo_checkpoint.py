"""The shipped demo checkpoint: what it says about itself is what it does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "demo" / "checkpoint"


def test_the_checkpoint_is_small_and_carries_the_scenes_contract() -> None:
    from segship.data.scenes import SCENE_CLASSES, SCENE_PALETTE
    from segship.models.checkpoints import load_checkpoint

    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 1_000_000
    contract = load_checkpoint(FOLDER).contract
    assert contract.classes == SCENE_CLASSES
    assert contract.palette == SCENE_PALETTE
    assert contract.size_px == (256, 384)


def test_the_stated_miou_is_reached_on_scenes() -> None:
    import torch

    from segship.data.loader import prefetch
    from segship.data.spec import open_dataset
    from segship.models.checkpoints import load_checkpoint

    stated = re.search(r"\*\*([\d.]+)%\*\*", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert stated is not None
    loaded = load_checkpoint(FOLDER)
    dataset = open_dataset("scenes:64@val", contract=loaded.contract)
    classes = len(dataset.classes)
    matrix = np.zeros((classes, classes), np.int64)
    with torch.inference_mode():
        for item in prefetch(dataset, loaded.contract):
            logits = loaded.model(torch.from_numpy(item.pixels))["segmentation"]
            size = item.labels.shape
            full = torch.nn.functional.interpolate(logits, size, mode="bilinear")
            scored = item.labels != 255
            pairs = item.labels[scored].astype(int) * classes + full.argmax(1)[0].numpy()[scored]
            matrix += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    hits = np.diag(matrix)
    miou = float((hits / (matrix.sum(0) + matrix.sum(1) - hits)).mean())
    assert miou > 0.6
    # JPEG decoders of different builds differ by single levels, which moves a few border pixels
    assert miou * 100 == pytest.approx(float(stated.group(1)), abs=0.2)
