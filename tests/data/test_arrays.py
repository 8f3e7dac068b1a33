"""Data kept in NumPy files: two big arrays, and Segformer3D's one file per sample."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segship.common.errors import InputError
from segship.data.arrays import random_split
from segship.data.contract import Contract
from segship.data.loader import prefetch
from segship.data.spec import open_dataset
from segship.tests.data.files import picture, save

THREE = Contract(classes=("direct", "alternative", "background"), size_px=(4, 6))


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Ten images; pixel (0, 0) of image i is i, its labels are i % 3."""
    images = np.stack([picture(number) for number in range(10)])
    images[:, 0, 0, 0] = np.arange(10)
    labels = np.broadcast_to(np.arange(10)[:, None, None] % 3, (10, 4, 6)).astype(np.uint8)
    save(tmp_path / "image_4_6.npy", images)
    save(tmp_path / "label_4_6.npy", labels)
    return tmp_path


def test_arrays_are_read_in_their_order(two: Path) -> None:
    dataset = open_dataset(f"arrays:{two}", contract=THREE)
    assert len(dataset) == 10
    assert dataset.classes == THREE.classes
    for number in (0, 9):
        sample = dataset.sample(number)
        assert sample.image[0, 0, 0] == number
        assert (sample.labels == number % 3).all()
    with Image.open(io.BytesIO(dataset.image_bytes(9) or b"")) as decoded:
        assert np.array_equal(np.asarray(decoded), dataset.sample(9).image)


def test_a_split_is_the_one_torch_deals(two: Path) -> None:
    torch = pytest.importorskip("torch")
    deal = torch.utils.data.random_split
    for count in (10, 11, 19, 3430):
        seeded = torch.Generator().manual_seed(1)
        expected = deal(range(count), [0.7, 0.2, 0.1], generator=seeded)
        assert list(random_split(count).values()) == [list(item.indices) for item in expected]
    splits = {name: open_dataset(f"arrays:{two}@{name}") for name in ("train", "val", "test")}
    assert [len(item) for item in splits.values()] == [7, 2, 1]
    first = splits["val"].sample(0)
    assert first.image[0, 0, 0] == random_split(10)["val"][0] == int(first.name)
    assert len({item.digest() for item in splits.values()}) == 3


def test_the_seeds_split_has_the_published_lengths() -> None:
    pytest.importorskip("torch")
    lengths = {name: len(items) for name, items in random_split(3430).items()}
    assert lengths == {"train": 2401, "val": 686, "test": 343}


def test_negative_labels_are_ignored_and_wrong_ones_named(two: Path) -> None:
    labels = np.zeros((10, 4, 6), np.int64)
    labels[3, 1, 2], labels[4, 0, 5] = -1, 3
    save(two / "label_4_6.npy", labels)
    dataset = open_dataset(f"arrays:{two}", contract=THREE)
    assert dataset.sample(3).labels[1, 2] == 255
    assert int(dataset.sample(3).labels.sum()) == 255
    with pytest.raises(InputError, match="has label 3 at image 4, row 0, column 5"):
        dataset.sample(4)


@pytest.mark.parametrize(
    ("image", "label", "reason"),
    [
        (np.zeros((2, 3, 4, 6), np.uint8), np.zeros((2, 4, 6)), "channels last"),
        (np.zeros((2, 4, 6, 3), np.float32), np.zeros((2, 4, 6)), "of float32"),
        (np.zeros((2, 4, 6, 3), np.uint8), np.zeros((2, 4, 5)), "one label map per image"),
        (np.zeros((2, 4, 6, 3), np.uint8), np.zeros((3, 4, 6)), "one label map per image"),
    ],
)
def test_arrays_of_other_shapes_are_refused(
    tmp_path: Path, image: np.ndarray, label: np.ndarray, reason: str
) -> None:
    save(tmp_path / "image.npy", image)
    save(tmp_path / "label.npy", label)
    with pytest.raises(InputError, match=reason):
        open_dataset(f"arrays:{tmp_path}")


def test_fractions_are_no_labels(two: Path) -> None:
    save(two / "label_4_6.npy", np.full((10, 4, 6), 0.5, np.float32))
    with pytest.raises(InputError, match="has fractions"):
        open_dataset(f"arrays:{two}").sample(0)


def test_one_array_of_each_is_needed(two: Path) -> None:
    save(two / "label_other.npy", np.zeros(1))
    with pytest.raises(InputError, match=r"there are 2 files label\*\.npy"):
        open_dataset(f"arrays:{two}")
    for file in two.glob("label*.npy"):
        file.unlink()
    with pytest.raises(InputError, match=r"holds image_4_6\.npy: check the path"):
        open_dataset(f"arrays:{two}")


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("exploded").touch, ())


def pickled() -> bytes:
    """Return an .npy file that numpy would have to unpickle."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb()], object))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content", [pickle.dumps(Bomb()), pickled(), b"\x93NUMPY", b"", b"PK\x03\x04"]
)
def test_a_file_that_is_no_plain_array_is_refused(
    two: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(two)
    (two / "label_4_6.npy").write_bytes(content)
    with pytest.raises(InputError, match="cannot be opened") as caught:
        open_dataset(f"arrays:{two}")
    assert "\n" not in str(caught.value)
    assert not (two / "exploded").exists()


@pytest.fixture
def threefold(tmp_path: Path) -> Path:
    for name in ("0", "1"):
        save(tmp_path / f"images/val/{name}.npy", picture(int(name)).astype(np.float32) / 255)
        labels = np.full((4, 6), int(name), np.float32)
        labels[0, 0] = -1
        save(tmp_path / f"seg_labels/val/{name}.npy", labels)
        depth = np.full((4, 6, 1), 0.25, np.float64)
        depth[0, :3, 0] = (0, -1, np.nan)
        save(tmp_path / f"depth_labels/val/{name}.npy", depth)
    return tmp_path


def test_segformer3d_has_images_labels_and_depth(threefold: Path) -> None:
    dataset = open_dataset(f"segformer3d:{threefold}@val")
    assert dataset.has_depth
    assert len(dataset.classes) == 19
    sample = dataset.sample(1)
    assert np.array_equal(sample.image, picture(1))
    assert sample.labels.dtype == np.uint8
    assert sample.labels[0].tolist() == [255, 1, 1, 1, 1, 1]
    assert sample.depth is not None
    assert sample.depth.dtype == np.float32
    assert sample.depth[0].tolist() == [0, 0, 0, 0.25, 0.25, 0.25]
    assert "0 to 1" in dataset.notes[0]
    (first, _) = prefetch(dataset, Contract(size_px=(8, 8)), workers=1)
    assert first.depth is not None
    assert first.depth.shape == (4, 6)
    with Image.open(io.BytesIO(dataset.image_bytes(1) or b"")) as decoded:
        assert np.array_equal(np.asarray(decoded), sample.image)


def test_one_range_for_all_images(threefold: Path) -> None:
    save(threefold / "images/val/0.npy", picture(0).astype(np.float32))
    dataset = open_dataset(f"segformer3d:{threefold}@val")
    assert "0 to 255" in dataset.notes[0]
    assert np.array_equal(dataset.sample(0).image, picture(0))
    save(threefold / "images/val/0.npy", picture(0).astype(np.float32) - 3)
    with pytest.raises(InputError, match="values of 0 to 255"):
        open_dataset(f"segformer3d:{threefold}@val").sample(0)


def test_depth_may_be_absent_but_not_partly(threefold: Path) -> None:
    digest = open_dataset(f"segformer3d:{threefold}@val").digest()
    (threefold / "depth_labels/val/0.npy").unlink()
    with pytest.raises(InputError, match="Expected a depth file for every image"):
        open_dataset(f"segformer3d:{threefold}@val")
    (threefold / "depth_labels/val/1.npy").unlink()
    (threefold / "depth_labels/val").rmdir()
    dataset = open_dataset(f"segformer3d:{threefold}@val")
    assert not dataset.has_depth
    assert dataset.sample(0).depth is None
    assert dataset.digest() != digest


@pytest.mark.parametrize(
    ("file", "array", "reason"),
    [
        ("images/val/0.npy", np.zeros((3, 4, 6), np.float32), "channels last"),
        ("seg_labels/val/0.npy", np.zeros((4, 5), np.int64), "its image's size"),
        ("seg_labels/val/0.npy", np.full((4, 6), 19), "has label 19"),
        ("depth_labels/val/0.npy", np.zeros((4, 5, 1)), "its image's size"),
        ("depth_labels/val/0.npy", np.zeros((4, 6, 3)), "export one channel"),
    ],
)
def test_a_wrong_array_is_named(threefold: Path, file: str, array: np.ndarray, reason: str) -> None:
    save(threefold / file, array)
    with pytest.raises(InputError, match=reason) as caught:
        open_dataset(f"segformer3d:{threefold}@val").sample(0)
    assert "0.npy" in str(caught.value)


def test_another_folder_is_refused(tmp_path: Path, threefold: Path) -> None:
    with pytest.raises(InputError, match="it has val"):
        open_dataset(f"segformer3d:{threefold}@train")
    with pytest.raises(InputError, match="seg_labels/SPLIT"):
        open_dataset(f"segformer3d:{tmp_path / 'images'}@val")
