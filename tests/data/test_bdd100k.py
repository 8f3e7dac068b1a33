"""BDD100K drivable area: three encodings, one order of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segship.common.errors import InputError
from segship.data.spec import open_dataset
from segship.tests.data.files import picture, row, save

CLASSES = ("direct", "alternative", "background")
MASKS, IDS, COLOURS = (
    "labels/drivable/masks/val/a.png",
    "drivable_maps/labels/val/a_drivable_id.png",
    "labels/drivable/colormaps/val/a.png",
)
OLD_COLOURS = "drivable_maps/color_labels/val/a_drivable_color.png"
COLOUR_ROW = np.array([[[219, 94, 86], [86, 211, 219], [0, 0, 0]]], np.uint8)
OLD_COLOUR_ROW = np.array([[[217, 83, 79], [91, 192, 222], [0, 0, 0]]], np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save(tmp_path / "images/100k/val/a.jpg", picture(0, 1, 3))
    return tmp_path


@pytest.mark.parametrize(
    ("file", "values", "note"),
    [
        (MASKS, row(0, 1, 2), "current masks"),
        (IDS, row(1, 2, 0), "old release"),
        (COLOURS, COLOUR_ROW, "colour maps"),
        (OLD_COLOURS, OLD_COLOUR_ROW, "colour maps"),
    ],
)
def test_the_folder_says_what_values_mean(
    root: Path, file: str, values: np.ndarray, note: str
) -> None:
    save(root / file, values)
    dataset = open_dataset(f"bdd100k:{root}@val")
    assert dataset.sample(0).labels.tolist() == [[0, 1, 2]]
    assert dataset.classes == CLASSES
    assert dataset.notes[0].startswith(note)


def test_the_current_masks_come_first(root: Path) -> None:
    for file, values in ((MASKS, row(0, 0, 2)), (IDS, row(0, 0, 0)), (COLOURS, COLOUR_ROW)):
        save(root / file, values)
    assert open_dataset(f"bdd100k:{root}@val").sample(0).labels.tolist() == [[0, 0, 2]]
    ids = open_dataset(f"bdd100k-ids:{root}@val")
    assert ids.sample(0).labels.tolist() == [[2, 2, 2]]
    assert open_dataset(f"bdd100k-colour:{root}@val").sample(0).labels.tolist() == [[0, 1, 2]]


def test_other_folders_need_a_scheme(root: Path) -> None:
    save(root / "labels/val/a.png", row(1, 2, 0))
    with pytest.raises(InputError, match="bdd100k-masks:, bdd100k-ids: or bdd100k-colour:"):
        open_dataset(f"bdd100k:{root}@val")
    masks, ids = (open_dataset(f"bdd100k-{x}:{root}@val") for x in ("masks", "ids"))
    assert masks.sample(0).labels.tolist() == [[1, 2, 0]]
    assert ids.sample(0).labels.tolist() == [[0, 1, 2]]
    assert masks.digest() != ids.digest()


@pytest.mark.parametrize(
    ("file", "values", "reason"),
    [
        (MASKS, row(0, 1, 3), "has label 3"),
        (IDS, row(0, 1, 3), "has label 3"),
        (COLOURS, OLD_COLOUR_ROW[:, :, ::-1], r"has \[79, 83, 217\]"),
    ],
)
def test_a_value_of_no_class_is_refused(
    root: Path, file: str, values: np.ndarray, reason: str
) -> None:
    save(root / file, np.ascontiguousarray(values))
    with pytest.raises(InputError, match=reason):
        open_dataset(f"bdd100k:{root}@val").sample(0)


def test_a_missing_part_is_named(root: Path) -> None:
    with pytest.raises(InputError, match="holds images/: say what the values mean"):
        open_dataset(f"bdd100k:{root}@val")
    save(root / MASKS, row(0, 1, 2))
    with pytest.raises(InputError, match="it has val"):
        open_dataset(f"bdd100k:{root}@test")
    save(root / "images/100k/val/b.jpg", picture(1, 1, 3))
    with pytest.raises(InputError, match=r"b\.jpg has none"):
        open_dataset(f"bdd100k:{root}@val")
