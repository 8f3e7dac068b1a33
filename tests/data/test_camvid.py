"""CamVid in the SegNet layout: a small one on disk, and the real one where it is shared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segship.common.errors import InputError
from segship.data.contract import Contract
from segship.data.spec import open_dataset

LABELS = np.array([[0, 10, 11], [3, 4, 5]], np.uint8)


@pytest.fixture
def small(write_pair: Callable[..., Path]) -> Path:
    for split in ("train", "val"):
        for name in ("b", "a"):
            root: Path = write_pair(name, LABELS, images=split, masks=f"{split}annot")
    return root


def test_a_split_is_read_in_order_of_names(small: Path) -> None:
    dataset = open_dataset(f"camvid:{small}@val")
    assert [dataset.sample(i).name for i in range(len(dataset))] == ["a", "b"]
    assert np.array_equal(dataset.sample(0).labels, LABELS)
    assert len(dataset.classes) == len(dataset.palette) == 11
    assert dataset.ignore_index == 11
    assert dataset.sample(0).image_path == small / "val" / "a.png"


def test_classes_json_decides_where_it_is_present(small: Path) -> None:
    names = [f"class {i}" for i in range(12)]
    text = json.dumps({"classes": names, "ignore_index": 30})
    before = open_dataset(f"camvid:{small}@val").digest()
    (small / "classes.json").write_text(text)
    dataset = open_dataset(f"camvid:{small}@val")
    assert dataset.classes == tuple(names)
    assert dataset.ignore_index == 30
    assert dataset.digest() != before


@pytest.mark.parametrize("split", ["", "@test"])
def test_a_missing_split_lists_those_that_exist(small: Path, split: str) -> None:
    with pytest.raises(InputError, match=r"it has train, val\.$"):
        open_dataset(f"camvid:{small}{split}")


def test_a_folder_without_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it has none"):
        open_dataset(f"camvid:{tmp_path}@val")


def test_a_label_out_of_range_is_found_at_reading(small: Path) -> None:
    wrong = LABELS.copy()
    wrong[1, 2] = 12
    Image.fromarray(wrong).save(small / "valannot" / "b.png")
    dataset = open_dataset(f"camvid:{small}@val")
    assert dataset.sample(0).name == "a"
    with pytest.raises(InputError, match=r"b\.png has label 12 at row 1, column 2"):
        dataset.sample(1)


def test_an_image_without_labels_is_refused(small: Path) -> None:
    (small / "valannot" / "b.png").unlink()
    with pytest.raises(InputError, match=r"val/b\.png has none"):
        open_dataset(f"camvid:{small}@val")


def test_a_model_of_other_classes_is_refused(small: Path) -> None:
    with pytest.raises(InputError, match="model's 2 classes"):
        open_dataset(f"camvid:{small}@val", contract=Contract(classes=("a", "b")))


@pytest.mark.parametrize(("split", "images"), [("train", 367), ("val", 101)])
def test_the_real_splits_are_whole(shared_dir: Path, split: str, images: int) -> None:
    dataset = open_dataset(f"camvid:{shared_dir / 'camvid'}@{split}")
    assert len(dataset) == images
    assert dataset.classes[:4] == ("sky", "building", "pole", "road")
    assert dataset.palette[3] == (128, 64, 128)


def test_the_real_labels_are_those_of_the_png_files(shared_dir: Path) -> None:
    dataset = open_dataset(f"camvid:{shared_dir / 'camvid'}@val")
    found = np.zeros(256, np.int64)
    for index in range(len(dataset)):
        sample = dataset.sample(index)
        assert sample.image.shape == (360, 480, 3)
        found += np.bincount(sample.labels.ravel(), minlength=256)
    expected = np.zeros(256, np.int64)
    for file in (shared_dir / "camvid" / "valannot").glob("*.png"):
        with Image.open(file) as picture:
            expected += np.array(picture.histogram())
    assert np.array_equal(found, expected)
    assert expected[:12].all()
    assert not expected[12:].any()


def test_the_real_images_are_those_of_the_files(shared_dir: Path) -> None:
    dataset = open_dataset(f"camvid:{shared_dir / 'camvid'}@val")
    sample = dataset.sample(100)
    assert sample.image_path is not None
    with Image.open(sample.image_path) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), sample.image)
    assert dataset.image_bytes(100) == sample.image_path.read_bytes()
