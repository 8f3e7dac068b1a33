"""Labels that mean the same: every expected value of a 4x4 map is written out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segship.common.errors import InputError
from segship.data.contract import Contract
from segship.data.label_map import map_labels
from segship.data.label_table import identity_table, ignore_values, look_up, reduce_labels
from segship.data.loader import prefetch
from segship.data.spec import open_dataset
from segship.tests.data.files import sample_of, save

RAW = np.array(
    [
        [0, 1, 2, 3],
        [4, 7, 8, 11],
        [26, 33, 34, 19],
        [254, 255, 7, 0],
    ],
    np.uint8,
)


def test_a_map_ignores_what_it_does_not_list() -> None:
    mapped = map_labels(RAW, [(7, 0), (8, 1), (26, 1), (255, 2)], 9)
    expected = [
        [9, 9, 9, 9],
        [9, 0, 1, 9],
        [1, 9, 9, 9],
        [9, 2, 0, 9],
    ]
    assert mapped.dtype == np.uint8
    assert mapped.tolist() == expected


def test_reducing_shifts_once_and_ignores_zero() -> None:
    expected = [
        [255, 0, 1, 2],
        [3, 6, 7, 10],
        [25, 32, 33, 18],
        [253, 255, 6, 255],
    ]
    assert reduce_labels(RAW, 255).tolist() == expected


def test_several_values_are_ignored_as_one() -> None:
    ignored = ignore_values(RAW, (19, 34, 255), 255)
    expected = [
        [0, 1, 2, 3],
        [4, 7, 8, 11],
        [26, 33, 255, 255],
        [254, 255, 7, 0],
    ]
    assert ignored.tolist() == expected
    assert ignore_values(RAW.astype(np.int32), (19, 34, 255), 255).tolist() == expected
    assert ignore_values(RAW, (255,), 255) is RAW


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_mapping_equals_a_plain_dictionary(dtype: type) -> None:
    rng = np.random.default_rng(3)
    labels: np.ndarray = rng.integers(0, 256, (40, 50)).astype(dtype)
    pairs = [(int(old), new) for new, old in enumerate(rng.permutation(256)[:90])]
    known = dict(pairs)
    expected = [[known.get(int(value), 255) for value in line] for line in labels]
    assert map_labels(labels, pairs, 255).tolist() == expected


def test_labels_above_255_are_kept_apart() -> None:
    deep = np.array([[1, 256, 300, 70]], np.int32)
    assert map_labels(deep, [(300, 1), (1, 0)], 255).tolist() == [[0, 255, 1, 255]]
    assert map_labels(deep, [(1, 400)], 255).tolist() == [[400, 255, 255, 255]]
    assert look_up(deep, identity_table([(1, 5)])).tolist() == [[5, 256, 300, 70]]


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([(1, 0), (1, 2)], "gives 1 both 0 and 2"),
        ([(-1, 0)], "got -1: 0"),
        ([(1, 70000)], "got 1: 70000"),
    ],
)
def test_a_map_that_says_two_things_is_refused(pairs: list[tuple[int, int]], reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        map_labels(RAW, pairs, 255)
    assert "\n" not in str(caught.value)


def test_a_contract_maps_the_data_and_names_its_classes(tmp_path: Path) -> None:
    sample_of(tmp_path, "images/a.png", "masks/a.png", RAW)
    (tmp_path / "classes.json").write_text(json.dumps({"classes": list("abcdefgh")}))
    contract = Contract(
        size_px=(4, 4),
        classes=("road", "car"),
        palette=((1, 2, 3), (4, 5, 6)),
        label_map=((3, 0), (4, 1), (7, 1)),
    )
    # without a map the same folder is refused: eight classes against two
    with pytest.raises(InputError, match="model's 2 classes"):
        open_dataset(f"folder:{tmp_path}", contract=Contract(classes=("road", "car")))
    save(tmp_path / "masks" / "a.png", np.minimum(RAW, 7))
    dataset = open_dataset(f"folder:{tmp_path}", contract=contract)
    expected = [[255, 255, 255, 0], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 255]]
    (prepared,) = prefetch(dataset, contract, workers=1)
    assert prepared.labels.tolist() == expected
    assert (dataset.classes, dataset.palette) == (("road", "car"), contract.palette)
    assert any("label map" in note for note in dataset.notes)
    assert dataset.image_bytes(0) == (tmp_path / "images" / "a.png").read_bytes()
    plain = open_dataset(f"folder:{tmp_path}")
    assert dataset.digest() != plain.digest()


def test_a_map_decides_what_255_means(tmp_path: Path) -> None:
    sample_of(tmp_path, "images/a.png", "masks/a.png", np.array([[0, 255]], np.uint8))
    contract = Contract(classes=("x", "y"), label_map=((0, 0), (255, 1)), ignore_index=99)
    assert open_dataset(f"folder:{tmp_path}", contract=contract).sample(0).labels.tolist() == [
        [0, 1]
    ]


def test_a_one_class_model_gets_its_background(tmp_path: Path) -> None:
    sample_of(tmp_path, "images/a.png", "masks/a.png", np.array([[0, 2, 3]], np.uint8))
    contract = Contract(classes=("nail",), threshold=0.5, label_map=((0, 0), (3, 1)))
    dataset = open_dataset(f"folder:{tmp_path}", contract=contract)
    assert dataset.classes == ("background", "nail")
    assert dataset.sample(0).labels.tolist() == [[0, 255, 1]]


def test_a_map_to_a_class_the_model_lacks_is_refused(tmp_path: Path) -> None:
    sample_of(tmp_path, "images/a.png", "masks/a.png", RAW)
    contract = Contract(classes=("x", "y"), label_map=((0, 0), (1, 2)))
    with pytest.raises(InputError, match="0 to 1 or 255 .* says 1: 2"):
        open_dataset(f"folder:{tmp_path}", contract=contract)


def test_a_palette_file_may_list_several_ignored_labels(tmp_path: Path) -> None:
    sample_of(tmp_path, "images/a.png", "masks/a.png", np.array([[0, 1, 2, 3]], np.uint8))
    values = {"classes": ["a", "b"], "ignore_index": [2, 3]}
    (tmp_path / "classes.json").write_text(json.dumps(values))
    dataset = open_dataset(f"folder:{tmp_path}")
    assert dataset.ignore_index == 3
    assert dataset.sample(0).labels.tolist() == [[0, 1, 3, 3]]
    values["ignore_index"] = [2, -1]
    (tmp_path / "classes.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=r'"ignore_index" is \[2, -1\]'):
        open_dataset(f"folder:{tmp_path}")
