"""Which images are kept for the eye, and that their pictures say what the labels said."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from segship.benchmark.examples import WIDTH_PX, ExampleKeeper, shrink, shrink_any

PALETTE = ((10, 20, 30), (200, 100, 50), (0, 255, 0))
IGNORE = 255


def offer(keeper: ExampleKeeper, index: int, agreement: float, accuracy: float = 0.5) -> None:
    labels = np.full((4, 6), index % 3, np.uint8)
    keeper.offer(
        index,
        f"image {index}",
        image=np.full((4, 6, 3), 40, np.uint8),
        truth=labels,
        predictions=[labels, labels],
        agreement=[agreement],
        accuracy=accuracy,
    )


def pixels(uri: str) -> np.ndarray:
    return np.asarray(picture(uri))


def picture(uri: str) -> Image.Image:
    head, data = uri.split(",", 1)
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_the_first_image_and_the_least_agreed_ones_are_kept_worst_first() -> None:
    keeper = ExampleKeeper(3, PALETTE, IGNORE)
    for index, agreement in enumerate([1.0, 0.9, 0.5, 0.99, 0.7, 1.0]):
        offer(keeper, index, agreement)
    kept = keeper.examples(["a", "b"])
    assert [item.name for item in kept] == ["image 0", "image 2", "image 4"]
    assert kept[1].agreement == {"b": 0.5}


def test_where_all_agree_the_hardest_images_are_kept() -> None:
    keeper = ExampleKeeper(2, PALETTE, IGNORE)
    for index, accuracy in enumerate([0.9, 0.8, 0.2, 0.6]):
        offer(keeper, index, 1.0, accuracy)
    assert [item.name for item in keeper.examples(["a", "b"])] == ["image 0", "image 2"]


def test_none_and_one() -> None:
    for count, want in ((0, []), (1, ["image 0"])):
        keeper = ExampleKeeper(count, PALETTE, IGNORE)
        for index in range(3):
            offer(keeper, index, 0.1)
        assert [item.name for item in keeper.examples(["a", "b"])] == want


def test_pictures_hold_the_labels_by_index_and_every_differing_pixel() -> None:
    truth = np.array([[0, 1, IGNORE, 2]], np.uint8)
    baseline = np.array([[0, 1, 1, 1]], np.uint8)
    other = np.array([[1, 1, 2, 1]], np.uint8)
    keeper = ExampleKeeper(1, PALETTE, IGNORE)
    keeper.offer(
        0,
        "x",
        image=np.full((1, 4, 3), 128, np.uint8),
        truth=truth,
        predictions=[baseline, other],
        agreement=[2 / 3],
        accuracy=2 / 3,
    )
    (example,) = keeper.examples(["base", "other"])
    assert pixels(example.truth).tolist() == truth.tolist()
    assert pixels(example.labels["base"]).tolist() == baseline.tolist()
    assert pixels(example.labels["other"]).tolist() == other.tolist()
    assert np.asarray(picture(example.labels["base"]).convert("RGB"))[0, 0].tolist() == [10, 20, 30]
    assert pixels(example.disagreement["other"]).tolist() == [[1, 0, 2, 0]]  # ignored never differs
    assert set(example.disagreement) == {"other"}
    assert picture(example.image).size == (4, 1)


def test_wide_images_shrink_to_the_same_size_and_lose_no_disagreement() -> None:
    labels = np.arange(1000, dtype=np.int32)[None, :].repeat(500, axis=0)
    photo = np.zeros((500, 1000, 3), np.uint8)
    assert shrink(labels).shape == shrink(photo).shape[:2] == (320, WIDTH_PX)
    assert set(shrink(labels)[0].tolist()) <= set(range(1000))
    for row, column in ((0, 0), (499, 999), (123, 777)):
        mask = np.zeros((500, 1000), bool)
        mask[row, column] = True
        small = shrink_any(mask)
        assert small.shape == (320, WIDTH_PX) and small.sum() == 1
    assert shrink(np.zeros((1, 5000), np.uint8)).shape == (1, WIDTH_PX)
