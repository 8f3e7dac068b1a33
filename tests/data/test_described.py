"""Data sets described in YAML: pairing, encodings, splits, and wrong descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from segship.common.errors import InputError
from segship.data.contract import Contract
from segship.data.dataset import Dataset
from segship.data.spec import open_dataset
from segship.tests.data.files import picture, row, sample_of, save

LABELS = row(0, 1, 2, 19, 255)
BASIC = {"images": "img/*.jpg", "labels": "gt/*.png"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    sample_of(tmp_path / "data", "img/a.jpg", "gt/a_mask.png", LABELS)
    return tmp_path


def opened(
    root: Path, values: dict[str, Any], split: str = "", contract: Contract | None = None
) -> Dataset:
    file = root / "set.yaml"
    file.write_text(yaml.safe_dump({"root": "data", **values}))
    return open_dataset(f"yaml:{file}{split}", contract=contract)


def labels_of(root: Path, **values: Any) -> list[int]:
    found = opened(root, {**BASIC, **values}).sample(0).labels
    return [int(value) for value in found[0]]


def test_values_are_labels_where_nothing_else_is_said(root: Path) -> None:
    dataset = opened(root, BASIC)
    assert dataset.sample(0).labels.tolist() == LABELS.tolist()
    assert (dataset.classes, dataset.ignore_index) == ((), 255)
    three = Contract(classes=("x", "y", "z"), ignore_index=19)
    with pytest.raises(InputError, match="has label 255"):
        opened(root, BASIC, contract=three).sample(0)


def test_ignored_values_become_one(root: Path) -> None:
    assert labels_of(root, ignore=[19, 255], classes=["a", "b", "c"]) == [0, 1, 2, 255, 255]
    assert labels_of(root, ignore=[19, 2]) == [0, 1, 2, 2, 255]


def test_a_label_map_ignores_what_it_does_not_list(root: Path) -> None:
    pairs = {0: 1, 2: 0, 255: 1}
    assert labels_of(root, label_map=pairs, classes=["a", "b"]) == [1, 255, 0, 255, 1]
    # the ignored value 0 may not become class 0
    assert labels_of(root, ignore=0, label_map={1: 0, 2: 1}) == [255, 0, 1, 255, 255]


def test_labels_are_reduced_where_file_or_model_says_so(root: Path) -> None:
    once = [255, 0, 1, 18, 255]
    assert labels_of(root, reduce_labels=True) == once
    model = Contract(reduce_labels=True)
    assert opened(root, BASIC, contract=model).sample(0).labels[0].tolist() == once
    stated = {**BASIC, "reduce_labels": False}
    kept = opened(root, stated, contract=model).sample(0).labels
    assert kept.tolist() == LABELS.tolist()
    # a map says what the values mean, so nothing is shifted before it
    mapped = {**BASIC, "label_map": {1: 1}}
    found = opened(root, mapped, contract=model).sample(0).labels[0].tolist()
    assert found == [255, 1, 255, 255, 255]


def test_binary_means_zero_and_the_rest(root: Path) -> None:
    assert labels_of(root, encoding="binary") == [0, 1, 1, 1, 1]
    assert labels_of(root, encoding="binary", ignore=[2, 19]) == [0, 1, 255, 255, 1]
    nail = Contract(classes=("nail",), threshold=0.5)
    dataset = opened(root, {**BASIC, "encoding": "binary"}, contract=nail)
    assert dataset.classes == ("background", "nail")


def test_colours_need_and_use_the_palette(root: Path) -> None:
    colours = np.array([[[9, 0, 0], [0, 9, 0], [0, 0, 9], [1, 1, 1], [9, 0, 0]]], np.uint8)
    save(root / "data/gt/a_mask.png", colours)
    stated = {"encoding": "colour", "palette": [[9, 0, 0], [0, 9, 0], [0, 0, 9]]}
    assert labels_of(root, **stated, unlisted="ignore") == [0, 1, 2, 255, 0]
    mapped = labels_of(root, **stated, unlisted="ignore", label_map={0: 1, 2: 0})
    assert mapped == [1, 255, 0, 255, 1]
    with pytest.raises(InputError, match=r"has \[1, 1, 1\]"):
        labels_of(root, **stated)
    with pytest.raises(InputError, match="key 'palette' with encoding colour"):
        labels_of(root, encoding="colour")
    dataset = opened(root, {**BASIC, **stated})
    assert dataset.classes == ("class 0", "class 1", "class 2")
    assert dataset.palette == ((9, 0, 0), (0, 9, 0), (0, 0, 9))


@pytest.mark.parametrize("encoding", ["palette", "colour", "index", "binary"])
def test_another_kind_of_image_is_refused(root: Path, encoding: str) -> None:
    wrong = LABELS if encoding in ("palette", "colour") else picture(0, 1, 5)
    save(root / "data/gt/a_mask.png", wrong)
    with pytest.raises(InputError, match=f"Expected {encoding} labels .* correct 'encoding'"):
        labels_of(root, encoding=encoding, palette=[[1, 2, 3]])


def test_a_palette_image_gives_its_indices(root: Path) -> None:
    indexed = Image.fromarray(LABELS)
    indexed.putpalette([7] * 768)
    indexed.save(root / "data/gt/a_mask.png")
    assert labels_of(root, encoding="palette") == LABELS[0].tolist()


def test_depth_has_a_unit(root: Path) -> None:
    save(root / "data/deep/a.png", np.full((1, 5), 640, np.uint16))
    stated = {"images": "img/*.jpg", "depth": "deep/*.png", "depth_unit_m": 1 / 256}
    dataset = opened(root, stated)
    assert (dataset.has_depth, dataset.has_labels) == (True, False)
    depth = dataset.sample(0).depth
    assert depth is not None
    assert depth.tolist() == [[2.5] * 5]
    assert (dataset.sample(0).labels == 255).all()
    other = opened(root, {**stated, "depth_unit_m": 0.001})
    assert other.digest() != dataset.digest()


def test_a_regular_expression_pairs_what_stems_do_not(root: Path) -> None:
    for number in (1, 2):
        image, mask = f"cam/rgb_{number:04d}.jpg", f"cam/sync_seg_{number:04d}.png"
        sample_of(root / "data", image, mask, row(number))
    globs = {"images": "cam/rgb_*.jpg", "labels": "cam/sync_seg_*.png"}
    dataset = opened(root, {**globs, "match": r"_(\d+)\."})
    assert [dataset.sample(i).name for i in range(2)] == ["0001", "0002"]
    assert [int(dataset.sample(i).labels[0, 0]) for i in range(2)] == [1, 2]
    with pytest.raises(InputError, match="has none: correct the globs, or add 'match'"):
        opened(root, globs)
    for match, reason in ((r"(\d", "regular expression"), ("x", "no match"), ("cam", "tell them")):
        with pytest.raises(InputError, match=reason):
            opened(root, {**globs, "match": match})


def test_repeated_stems_are_told_apart_by_their_folders(root: Path) -> None:
    for city, value in (("ulm", 1), ("bonn", 2)):
        sample_of(root / "data", f"x/{city}/1.jpg", f"y/{city}/1.png", row(value))
    dataset = opened(root, {"images": "x/**/*.jpg", "labels": "y/**/*.png"})
    found = {dataset.sample(i).name: int(dataset.sample(i).labels[0, 0]) for i in range(2)}
    assert found == {"bonn/1": 2, "ulm/1": 1}


@pytest.fixture
def splits(root: Path) -> Path:
    for split, name in (("train", "a"), ("train", "b"), ("val", "c")):
        sample_of(root / "data", f"{split}/{name}.jpg", f"{split}annot/{name}.png", row(0))
    return root


def test_a_split_may_be_a_part_of_the_globs(splits: Path) -> None:
    stated = {"images": "{split}/*.jpg", "labels": "{split}annot/*.png"}
    assert len(opened(splits, stated, "@train")) == 2
    assert len(opened(splits, stated, "@val")) == 1
    with pytest.raises(InputError, match="finds none"):
        opened(splits, stated, "@test")
    with pytest.raises(InputError, match="expected a split after '@'"):
        opened(splits, stated)
    with pytest.raises(InputError, match="the file has none"):
        opened(splits, BASIC, "@val")


@pytest.mark.parametrize("prefix", ["", "/SegNet/CamVid/train/", "train/", "D:\\CamVid\\train\\"])
def test_a_split_may_be_listed_in_a_file_of_another_machine(splits: Path, prefix: str) -> None:
    lines = [f"{prefix}{name}.jpg {prefix}{name}_L.png" for name in "ba"]
    (splits / "data/train.txt").write_text("\n".join(["# images, labels", *lines, ""]))
    stated = {
        "images": "*/*.jpg",
        "labels": "*annot/*.png",
        "splits": {"train": "/elsewhere/train.txt", "val": ["c"], "wrong": ["x"]},
    }
    with pytest.raises(InputError, match="no split is named"):
        opened(splits, stated)
    (splits / "data/img/a.jpg").unlink()  # it has the stem of train/a.jpg
    train = opened(splits, stated, "@train")
    assert [train.sample(i).name for i in range(len(train))] == ["b", "a"]
    assert len(opened(splits, stated, "@val")) == 1
    with pytest.raises(InputError, match="got 'x'"):
        opened(splits, stated, "@wrong")
    with pytest.raises(InputError, match="it has train, val, wrong"):
        opened(splits, stated, "@test")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"image": "x"}, "unknown key 'image': did you mean 'images'"),
        ({"ignore_index": 3}, "unknown key 'ignore_index': did you mean 'ignore'"),
        ({"encoding": "rgb"}, "one of index, palette, colour, binary"),
        ({"classes": "road"}, "list of names"),
        ({"classes": ["a"], "palette": [[1, 2, 3], [4, 5, 6]]}, "1 classes and 2 colours"),
        ({"palette": [[1, 2]]}, r"colours \[r, g, b\]"),
        ({"palette": [[1, 2, 300]]}, r"colours \[r, g, b\]"),
        ({"ignore": -1}, "a label or a list of labels"),
        ({"label_map": {"road": 0}}, "pairs 'label: class'"),
        ({"label_map": {1: 70000}}, "0 to 65535"),
        ({"label_map": {1: 0}, "ignore": [1]}, "1 in ignore or in label_map"),
        ({"label_map": {1: 0}, "reduce_labels": True}, "got both"),
        ({"reduce_labels": "yes please"}, "true or false"),
        ({"depth_unit_m": 0}, "positive number of metres"),
        ({"splits": {"val": [1, 2]}}, "names in quotes"),
        ({"splits": {"val": "no.txt"}}, "no split is named"),
        ({"root": "nowhere"}, "root: expected a folder"),
        ({"images": "img/*.bmp"}, r"'img/\*\.bmp' finds none"),
        ({"images": "/img/*.jpg"}, "a glob below root"),
        ({"labels": None}, "expected text"),
    ],
)
def test_a_wrong_description_is_one_clear_line(
    root: Path, values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        opened(root, {**BASIC, **values})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("images: [", "to be a data set in YAML"),
        ("- images", "expected keys and values"),
        ("labels: 'x'", "expected the key 'images'"),
        ("images: 'data/img/*.jpg'", "the key 'labels' or 'depth'"),
        ("images: !!python/object/apply:os.getcwd []", "to be a data set in YAML"),
    ],
)
def test_a_file_that_describes_nothing_is_refused(root: Path, text: str, reason: str) -> None:
    (root / "set.yaml").write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        open_dataset(f"yaml:{root / 'set.yaml'}")
    assert "\n" not in str(caught.value)


def test_a_missing_label_is_named(root: Path) -> None:
    save(root / "data/img/b.jpg", picture())
    with pytest.raises(InputError, match=r"expected a mask for every image, but .*b\.jpg"):
        opened(root, BASIC)
    with pytest.raises(InputError, match="is a folder"):
        open_dataset(f"yaml:{root}")


def test_the_description_is_part_of_the_digest(root: Path) -> None:
    assert opened(root, BASIC).digest() != opened(root, {**BASIC, "ignore": 19}).digest()
