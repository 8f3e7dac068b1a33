"""The whole loop, label map and reduced labels included, against torchmetrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.classification import MulticlassJaccardIndex

from segship.benchmark.accuracy import measure_accuracy
from segship.benchmark.opened import label_names
from segship.benchmark.protocol import class_warnings, label_space
from segship.benchmark.subject import Subject
from segship.data.contract import Contract, OutputKind, Resample, ResizeRule
from segship.data.dataset import Dataset
from segship.data.spec import open_dataset
from segship.tests.benchmark.fakes import ArrayData, FunctionSession

CLASSES = ("road", "lane", "sky", "car")
IGNORE, IMAGES, SIZE = 255, 3, (12, 20)


def contract_of(**values: object) -> Contract:
    base = {
        "size_px": SIZE,
        "classes": CLASSES,
        "output": OutputKind.LABELS,
        "resize": ResizeRule.NONE,
        "resample": Resample.NEAREST,
        "scale": 1.0,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
    }
    return Contract(**{**base, **values})  # type: ignore[arg-type]  # fields of the contract


def predicted_from_red(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """The image's red value is the prediction."""
    return {"segmentation": pixels[:, 0].astype(np.uint8)}


def drawn() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return images whose red is a prediction 0..3, and raw labels 0..7."""
    generator = np.random.default_rng(6)
    seen = [generator.integers(0, 4, SIZE).astype(np.uint8) for _ in range(IMAGES)]
    images = [np.stack([item] * 3, axis=-1) for item in seen]
    return images, [generator.integers(0, 8, SIZE).astype(np.uint8) for _ in range(IMAGES)]


def our_miou(dataset: Dataset, contract: Contract) -> float:
    subject = Subject("x", FunctionSession(predicted_from_red, contract), contract)
    found = measure_accuracy([subject], dataset, palette=((0, 0, 0),) * 4, progress=False)
    assert found.accuracies[0] is not None
    return found.accuracies[0].miou


def library_miou(images: list[np.ndarray], truth: list[np.ndarray]) -> float:
    metric = MulticlassJaccardIndex(num_classes=4, average="macro", ignore_index=IGNORE)
    for image, labels in zip(images, truth, strict=True):
        metric.update(
            torch.from_numpy(image[None, ..., 0].astype(np.int64)),
            torch.from_numpy(labels[None].astype(np.int64)),
        )
    return float(metric.compute())


def test_labels_with_an_ignored_value() -> None:
    images, raw = drawn()
    truth = [np.where(item > 3, IGNORE, item).astype(np.uint8) for item in raw]
    data = ArrayData(images, truth, classes=CLASSES)
    # 1e-6 here and below: torchmetrics divides in float32
    assert our_miou(data, contract_of()) == pytest.approx(library_miou(images, truth), abs=1e-6)


def written(folder: Path, images: list[np.ndarray], raw: list[np.ndarray]) -> str:
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for index, (image, labels) in enumerate(zip(images, raw, strict=True)):
        Image.fromarray(image).save(folder / "images" / f"{index}.png")
        Image.fromarray(labels).save(folder / "masks" / f"{index}.png")
    return f"folder:{folder}"


def test_reduced_labels(tmp_path: Path) -> None:
    images, raw = drawn()
    raw = [np.where(item > 4, 0, item).astype(np.uint8) for item in raw]
    contract = contract_of(reduce_labels=True)
    data = open_dataset(written(tmp_path, images, raw), contract=contract)
    truth = [np.where(item == 0, IGNORE, item.astype(np.int64) - 1) for item in raw]
    assert our_miou(data, contract) == pytest.approx(library_miou(images, truth), abs=1e-6)


def test_a_label_map(tmp_path: Path) -> None:
    images, raw = drawn()
    pairs = ((7, 0), (5, 1), (0, 2), (1, 3), (2, 3))
    contract = contract_of(label_map=pairs)
    data = open_dataset(written(tmp_path, images, raw), contract=contract)
    truth = [np.vectorize(lambda value: dict(pairs).get(value, IGNORE))(item) for item in raw]
    assert our_miou(data, contract) == pytest.approx(library_miou(images, truth), abs=1e-6)


def test_one_class_with_a_threshold_has_a_background_before_it() -> None:
    contract = Contract(classes=("nail",), palette=((9, 9, 9),), threshold=0.4)
    space = label_space([contract], None)
    assert space.classes == label_names(contract) == ("background", "nail")
    assert len(space.palette) == 2
    assert class_warnings([contract], ("Background", "nail")) == ()
    (warning,) = class_warnings([contract], ("background", "hand"))
    assert "Class 1 is 'nail' in the model and 'hand'" in warning


def test_a_record_says_how_the_data_set_read_its_labels(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / folder / "a.png")
    contract = contract_of(label_map=((0, 1),))
    subject = Subject("x", FunctionSession(predicted_from_red, contract), contract)
    dataset = open_dataset(f"folder:{tmp_path}", contract=contract)
    found = measure_accuracy([subject], dataset, palette=((0, 0, 0),) * 4, progress=False)
    assert found.data_notes == dataset.notes
    assert any("label map" in note for note in found.data_notes)
