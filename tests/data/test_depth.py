"""Images with depth: units, unknown values, labels that may be missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segship.common.errors import InputError
from segship.data.contract import Contract
from segship.data.loader import prefetch
from segship.data.spec import open_dataset
from segship.tests.data.files import picture, row, save

MILLIMETRES = np.array([[0, 1, 500, 1500, 9999, 65535]] * 4, np.uint16)
METRES = [0, 0.001, 0.5, 1.5, 9.999, 65.535]


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    save(tmp_path / "val/rgb/a.png", picture())
    save(tmp_path / "val/depth/a.png", MILLIMETRES)
    return tmp_path


def test_millimetres_become_metres_and_all_labels_are_ignored(deep: Path) -> None:
    contract = Contract(size_px=(8, 8), classes=("x", "y"))
    dataset = open_dataset(f"depth:{deep}@val", contract=contract)
    assert dataset.has_depth
    assert not dataset.has_labels
    (sample,) = prefetch(dataset, contract, workers=1)
    assert sample.depth is not None
    assert sample.depth.dtype == np.float32
    # a float32 of ten metres is exact to half a micrometre
    assert sample.depth[0] == pytest.approx(METRES, abs=5e-6)
    assert sample.depth.shape == sample.labels.shape == (4, 6)
    assert (sample.labels == dataset.ignore_index).all()


def test_labels_are_read_where_they_are(deep: Path) -> None:
    labels = np.array([[0, 1, 2, 0, 1, 2]] * 4, np.uint8)
    before = open_dataset(f"depth:{deep}@val").digest()
    save(deep / "val/labels/a.png", labels)
    contract = Contract(classes=("x", "y", "z"), label_map=((0, 2), (1, 1)))
    dataset = open_dataset(f"depth:{deep}@val", contract=contract)
    assert dataset.has_labels
    assert dataset.has_depth
    assert dataset.sample(0).labels[0].tolist() == [2, 1, 255, 2, 1, 255]
    assert dataset.sample(0).depth is not None
    assert open_dataset(f"depth:{deep}@val").digest() != before
    with pytest.raises(InputError, match="has label 2"):
        open_dataset(f"depth:{deep}@val", contract=Contract(classes=("x", "y"))).sample(0)


@pytest.mark.parametrize(
    "layout",
    [
        ("images/a.png", "depth/a.png", ""),
        ("images/a.png", "depth/a_depth.npy", ""),
        ("images/test/a.jpg", "depths/test/a.npy", "@test"),
        ("test/image/a.jpg", "test/depth_labels/a.npy", "@test"),
    ],
)
def test_every_layout_is_found(tmp_path: Path, layout: tuple[str, str, str]) -> None:
    image, depth, split = layout
    save(tmp_path / image, picture())
    values = np.array([[0, -1, np.inf, np.nan, 2.5, 80]] * 4)
    save(tmp_path / depth, MILLIMETRES if depth.endswith(".png") else values)
    dataset = open_dataset(f"depth:{tmp_path}{split}")
    found = dataset.sample(0).depth
    assert found is not None
    if depth.endswith(".npy"):
        assert found[0].tolist() == [0, 0, 0, 0, 2.5, 80]  # metres are taken as they are


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((4, 6), np.uint8), "has mode L: 8 bits are a picture"),
        (picture(), "has mode RGB"),
        (np.zeros((5, 6), np.uint16), "a depth map of its image's size"),
    ],
)
def test_a_wrong_depth_image_is_refused(deep: Path, values: np.ndarray, reason: str) -> None:
    save(deep / "val/depth/a.png", values)
    with pytest.raises(InputError, match=reason):
        open_dataset(f"depth:{deep}@val").sample(0)


def test_a_broken_depth_image_is_refused(deep: Path) -> None:
    file = deep / "val/depth/a.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(InputError, match="cannot be decoded") as caught:
        open_dataset(f"depth:{deep}@val").sample(0)
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named(deep: Path, tmp_path: Path) -> None:
    save(deep / "val/rgb/b.png", picture(1))
    with pytest.raises(InputError, match="Expected a depth map for every image"):
        open_dataset(f"depth:{deep}@val")
    with pytest.raises(InputError, match="it has val"):
        open_dataset(f"depth:{deep}")
    with pytest.raises(InputError, match=r"holds a\.png, b\.png: check the path"):
        open_dataset(f"depth:{tmp_path / 'val' / 'rgb'}")


def test_data_without_depth_say_so(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", picture(0, 1, 3))
    save(tmp_path / "masks/a.png", row(0, 1, 2))
    dataset = open_dataset(f"folder:{tmp_path}")
    assert (dataset.has_depth, dataset.has_labels, dataset.sample(0).depth) == (False, True, None)
