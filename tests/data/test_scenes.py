"""Procedural scenes: reproducible, exact, and not the same thing twice."""

from __future__ import annotations

import numpy as np
import pytest

from segship.common.errors import InputError
from segship.data.dataset import Sample
from segship.data.preprocess import decode
from segship.data.scenes import SCENE_CLASSES, Scenes
from segship.data.spec import open_dataset

COUNT = 24


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    scenes = Scenes(COUNT, "val")
    return [scenes.sample(index) for index in range(COUNT)]


def test_a_scene_is_an_image_with_labels_of_its_size(samples: list[Sample]) -> None:
    for sample in samples:
        assert sample.image.shape == (256, 384, 3)
        assert sample.labels.shape == (256, 384)
        assert sample.image.dtype == sample.labels.dtype == np.uint8
        assert set(np.unique(sample.labels).tolist()) <= {*range(len(SCENE_CLASSES)), 255}


def test_every_class_is_common_enough_to_be_scored(samples: list[Sample]) -> None:
    share = np.bincount(np.concatenate([s.labels.ravel() for s in samples]), minlength=256)
    share = share / share.sum()
    assert share[: len(SCENE_CLASSES)].min() > 0.005
    assert share.max() < 0.5
    assert share[255] < 0.05


def test_scenes_are_the_same_each_time_and_do_not_depend_on_their_number(
    samples: list[Sample],
) -> None:
    again = Scenes(5, "val").sample(4)
    assert np.array_equal(again.image, samples[4].image)
    assert np.array_equal(again.labels, samples[4].labels)
    assert again.name == samples[4].name == "val-00004"


def test_scenes_and_splits_differ(samples: list[Sample]) -> None:
    other = Scenes(2, "train").sample(0)
    assert (other.labels != samples[0].labels).mean() > 0.1
    for first, second in zip(samples, samples[1:], strict=False):
        assert (first.labels != second.labels).mean() > 0.1


def test_the_image_is_what_its_jpeg_decodes_to(samples: list[Sample]) -> None:
    data = Scenes(COUNT, "val").image_bytes(7)
    assert data[:2] == b"\xff\xd8"
    assert np.array_equal(decode(data), samples[7].image)


def test_labels_lie_where_the_image_changes(samples: list[Sample]) -> None:
    # at the label borders the picture's gradient is much steeper than elsewhere
    steeper = []
    for sample in samples:
        grey = sample.image.mean(axis=2)
        slope = np.abs(np.diff(grey, axis=1))
        border = np.diff(sample.labels.astype(int), axis=1) != 0
        steeper.append(slope[border].mean() / slope[~border].mean())
    assert np.median(steeper) > 3


def test_colour_alone_does_not_tell_the_classes(samples: list[Sample]) -> None:
    # the nearest mean colour of each class is right on well under two thirds of the pixels
    pixels = np.concatenate([s.image[::4, ::4].reshape(-1, 3) for s in samples]).astype(float)
    labels = np.concatenate([s.labels[::4, ::4].ravel() for s in samples])
    pixels, labels = pixels[labels != 255], labels[labels != 255]
    means = np.stack([pixels[labels == k].mean(axis=0) for k in range(len(SCENE_CLASSES))])
    nearest = np.square(pixels[:, None] - means).sum(axis=2).argmin(axis=1)
    assert (nearest == labels).mean() < 0.6


@pytest.mark.parametrize("size_px", [(32, 32), (75, 133), (512, 1024)])
def test_any_size_can_be_drawn(size_px: tuple[int, int]) -> None:
    assert Scenes(1, size_px=size_px).sample(0).image.shape == (*size_px, 3)


def test_digest_follows_split_and_number() -> None:
    specs = ("scenes:4", "scenes:4@val", "scenes:5@val", "scenes:4@train")
    digests = [open_dataset(spec).digest() for spec in specs]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_wrong_sizes_and_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="32 pixels"):
        Scenes(1, size_px=(8, 8))
    with pytest.raises(IndexError):
        Scenes(3).sample(3)
