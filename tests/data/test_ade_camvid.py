"""ADE20K, shifted exactly once, and CamVid in colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segship.common.errors import InputError
from segship.data.ade20k import ADE_CLASSES
from segship.data.contract import Contract
from segship.data.spec import open_dataset
from segship.tests.data.files import picture, row, sample_of, save

SKY, VOID, PAVEMENT, SEGNET_PAVEMENT = (128, 128, 128), (0, 0, 0), (0, 0, 192), (60, 40, 222)
WALL = (64, 192, 0)


@pytest.fixture
def ade(tmp_path: Path) -> Path:
    root = tmp_path / "ADEChallengeData2016"
    sample_of(
        root,
        "images/validation/a.png",
        "annotations/validation/a.png",
        row(0, 1, 2, 150, 255),
    )
    return tmp_path


@pytest.mark.parametrize("reduce", [False, True])
def test_ade_labels_are_reduced_once_whatever_the_model_says(ade: Path, reduce: bool) -> None:
    contract = Contract(classes=ADE_CLASSES, reduce_labels=reduce)
    dataset = open_dataset(f"ade20k:{ade}@validation", contract=contract)
    assert dataset.sample(0).labels.tolist() == [[255, 0, 1, 149, 255]]
    assert dataset.classes[0] == "wall"
    assert dataset.classes[149] == "flag"
    assert len(set(dataset.palette)) == len(set(dataset.classes)) == 150


def test_the_same_files_as_a_folder_are_reduced_by_the_contract(ade: Path) -> None:
    root = ade / "ADEChallengeData2016"
    contract = Contract(classes=ADE_CLASSES, reduce_labels=True)
    dataset = open_dataset(f"folder:{root}@validation", contract=contract)
    assert dataset.sample(0).labels.tolist() == [[255, 0, 1, 149, 255]]


def test_an_ade_label_above_150_is_refused(ade: Path) -> None:
    root = ade / "ADEChallengeData2016"
    save(root / "annotations/validation/a.png", row(0, 1, 2, 151, 255))
    with pytest.raises(InputError, match="has label 151"):
        open_dataset(f"ade20k:{ade}@validation").sample(0)


def test_a_folder_that_is_no_ade_is_refused(tmp_path: Path, ade: Path) -> None:
    with pytest.raises(InputError, match="it has validation"):
        open_dataset(f"ade20k:{ade}")
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="holds nothing"):
        open_dataset(f"ade20k:{tmp_path / 'other'}@validation")


def colours(*values: tuple[int, int, int]) -> np.ndarray:
    return np.array([values], np.uint8)


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    values = colours(SKY, PAVEMENT, SEGNET_PAVEMENT, VOID, WALL)
    save(tmp_path / "val_labels/x_L.png", values)
    save(tmp_path / "val/x.png", picture(0, 1, 5))
    return tmp_path


def with_classes(root: Path) -> None:
    lines = ["name, r, g, b", "Sidewalk,0,0,192", "Sky,128,128,128", "Void,0,0,0"]
    (root / "class_dict.csv").write_text("\n".join(lines))


def test_eleven_colours_and_the_rest_ignored(camvid: Path) -> None:
    dataset = open_dataset(f"camvid-colour:{camvid}@val")
    assert dataset.sample(0).labels.tolist() == [[0, 4, 4, 255, 255]]
    assert dataset.sample(0).name == "x"
    assert (dataset.classes[4], dataset.palette[4]) == ("pavement", PAVEMENT)


def test_the_class_file_decides_unless_the_model_has_eleven(camvid: Path) -> None:
    before = open_dataset(f"camvid-colour:{camvid}@val").digest()
    with_classes(camvid)
    listed = open_dataset(f"camvid-colour:{camvid}@val")
    assert listed.sample(0).labels.tolist() == [[1, 0, 255, 2, 255]]
    assert listed.classes == ("Sidewalk", "Sky", "Void")
    assert "Void is a class and is scored" in listed.notes[0]
    assert listed.digest() != before
    eleven = Contract(classes=tuple(f"LABEL_{i}" for i in range(11)))
    dataset = open_dataset(f"camvid-colour:{camvid}@val", contract=eleven)
    assert dataset.sample(0).labels.tolist() == [[0, 4, 4, 255, 255]]


def test_a_model_without_void_ignores_it(camvid: Path) -> None:
    with_classes(camvid)
    two = Contract(classes=("Sidewalk", "Sky"))
    dataset = open_dataset(f"camvid-colour:{camvid}@val", contract=two)
    assert dataset.sample(0).labels.tolist() == [[1, 0, 255, 255, 255]]
    assert dataset.classes == ("Sidewalk", "Sky")


@pytest.mark.parametrize("text", ["name,r,g\nSky,1,2", "", "name,r,g,b\nSky,1,2,300"])
def test_a_wrong_class_file_is_refused(camvid: Path, text: str) -> None:
    (camvid / "class_dict.csv").write_text(text)
    with pytest.raises(InputError, match="columns name, r, g, b"):
        open_dataset(f"camvid-colour:{camvid}@val")


def test_index_camvid_is_another_format(tmp_path: Path) -> None:
    sample_of(tmp_path, "val/x.png", "valannot/x.png", row(1))
    with pytest.raises(InputError, match="camvid: reads index masks"):
        open_dataset(f"camvid-colour:{tmp_path}@val")
