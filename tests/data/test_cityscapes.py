"""Cityscapes in its three readings, from hand-made trees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segship.common.errors import InputError
from segship.data.spec import open_dataset
from segship.tests.data.files import picture, row, sample_of, save

IDS = np.arange(34, dtype=np.uint8).reshape(1, 34)
# one expected value per id 0..33, from the official table
TRAIN_IDS = (
    *(255, 255, 255, 255, 255, 255, 255, 0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7),
    *(8, 9, 10, 11, 12, 13, 14, 15, 255, 255, 16, 17, 18),
)
CATEGORIES = (
    *(0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 6, 6),
    *(7, 7, 7, 7, 7, 7, 7, 7),
)


def tree(root: Path, name: str, values: np.ndarray, kind: str = "labelIds") -> None:
    city = name.split("_")[0]
    image = f"leftImg8bit/val/{city}/{name}_leftImg8bit.png"
    sample_of(root, image, f"gtFine/val/{city}/{name}_gtFine_{kind}.png", values)


def test_ids_are_mapped_to_the_training_classes(tmp_path: Path) -> None:
    tree(tmp_path, "ulm_1", IDS)
    dataset = open_dataset(f"cityscapes:{tmp_path}@val")
    assert dataset.sample(0).labels[0].tolist() == list(TRAIN_IDS)
    assert dataset.sample(0).name == "ulm/ulm_1"
    assert len(dataset.classes) == len(dataset.palette) == 19
    assert dict(zip(dataset.classes, dataset.palette, strict=True))["car"] == (0, 0, 142)
    assert "labelIds" in dataset.notes[0]


def test_training_ids_are_taken_as_they_are(tmp_path: Path) -> None:
    tree(tmp_path, "ulm_1", row(7, 33, 0))
    save(tmp_path / "gtFine/val/ulm/ulm_1_gtFine_labelTrainIds.png", row(0, 18, 255))
    save(tmp_path / "gtFine/val/ulm/ulm_1_gtFine_color.png", picture(1, 1, 3))
    dataset = open_dataset(f"cityscapes:{tmp_path}@val")
    assert dataset.sample(0).labels.tolist() == [[0, 18, 255]]
    assert dataset.notes == ()


def test_some_training_ids_are_not_enough(tmp_path: Path) -> None:
    tree(tmp_path, "ulm_1", IDS)
    tree(tmp_path, "ulm_2", IDS)
    save(tmp_path / "gtFine/val/ulm/ulm_1_gtFine_labelTrainIds.png", row(0))
    with pytest.raises(InputError, match=r"ulm_2_leftImg8bit\.png has none"):
        open_dataset(f"cityscapes:{tmp_path}@val")


def test_a_value_that_is_no_id_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "ulm_1", row(7, 34))
    for kind in ("cityscapes", "cityscapes-8"):
        with pytest.raises(InputError, match="has label 34 at row 0, column 1"):
            open_dataset(f"{kind}:{tmp_path}@val").sample(0)


def test_the_course_ignores_19_and_255(tmp_path: Path) -> None:
    sample_of(tmp_path, "leftImg8bit/val/a.png", "gtFine/val/a.png", row(0, 18, 19, 255))
    dataset = open_dataset(f"cityscapes-course:{tmp_path}@val")
    assert dataset.ignore_index == 255
    assert dataset.sample(0).labels.tolist() == [[0, 18, 255, 255]]
    save(tmp_path / "gtFine/val/a.png", row(0, 18, 19, 20))
    with pytest.raises(InputError, match="has label 20"):
        dataset.sample(0)


def test_the_categories_score_void(tmp_path: Path) -> None:
    tree(tmp_path, "ulm_1", np.concatenate([IDS, row(255)], axis=1))
    dataset = open_dataset(f"cityscapes-8:{tmp_path}@val")
    assert dataset.sample(0).labels[0].tolist() == [*CATEGORIES, 0]
    assert dataset.classes[0] == "void"
    ids = open_dataset(f"cityscapes:{tmp_path}@val")
    assert ids.digest() != dataset.digest()  # the same files, read otherwise


@pytest.mark.parametrize("prefix", ["", "/elsewhere/data/", "C:\\data\\"])
def test_a_csv_lists_files_of_another_machine(tmp_path: Path, prefix: str) -> None:
    for name in ("a", "b"):
        sample_of(tmp_path, f"x/{name}.png", f"y/{name}.png", row(7, 23))
    lines = ["image_path,labelID_path", *(f"{prefix}x/{n}.png,{prefix}y/{n}.png" for n in "ba")]
    (tmp_path / "test.csv").write_text("\n".join(lines))
    dataset = open_dataset(f"cityscapes-8:{tmp_path / 'test.csv'}")
    assert [dataset.sample(i).name for i in range(len(dataset))] == ["00000-b", "00001-a"]
    assert dataset.sample(0).labels.tolist() == [[1, 5]]
    before = dataset.digest()
    (tmp_path / "test.csv").write_text("\n".join(lines[:2]))
    assert open_dataset(f"cityscapes-8:{tmp_path / 'test.csv'}").digest() != before


@pytest.mark.parametrize(
    ("text", "split", "reason"),
    [
        ("image,label\nx,y", "", "has image, label"),
        ("", "", "has none"),
        ("image_path,labelID_path\nno.png,no.png", "", "'no.png' of line 2 is not found"),
        ("image_path,labelID_path\n", "", "has none: check the path"),
        ("image_path,labelID_path\n", "@val", "no split for a CSV file"),
    ],
)
def test_a_wrong_csv_is_one_clear_line(tmp_path: Path, text: str, split: str, reason: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        open_dataset(f"cityscapes-8:{tmp_path / 't.csv'}{split}")
    assert "\n" not in str(caught.value)


def test_the_two_layouts_are_told_apart(tmp_path: Path) -> None:
    sample_of(tmp_path / "flat", "leftImg8bit/val/a.png", "gtFine/val/a.png", row(0))
    tree(tmp_path / "tree", "ulm_1", IDS)
    with pytest.raises(InputError, match="try cityscapes-course:.*flat@val"):
        open_dataset(f"cityscapes:{tmp_path / 'flat'}@val")
    with pytest.raises(InputError, match="try cityscapes:.*tree@val"):
        open_dataset(f"cityscapes-course:{tmp_path / 'tree'}@val")
    with pytest.raises(InputError, match="it has val"):
        open_dataset(f"cityscapes:{tmp_path / 'tree'}@train")


def test_another_folder_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match=r"leftImg8bit/SPLIT/CITY.*holds images/: check the path"):
        open_dataset(f"cityscapes:{tmp_path}@val")
