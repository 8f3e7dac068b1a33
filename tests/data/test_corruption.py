"""Damage with known outcomes: values clip, noise repeats, strengths are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from segship.common.errors import InputError
from segship.data.corruption import CorruptedData, Corruption, corrupt, parse_corruptions
from segship.data.spec import open_dataset

GREY = np.full((20, 30, 3), 100, np.uint8)


def damaged(kind: str, strength: float, image: np.ndarray = GREY, seed: int = 0) -> np.ndarray:
    return corrupt(image, Corruption(kind, strength), (seed, 0))


def test_brightness_adds_a_share_of_white_and_clips() -> None:
    assert (damaged("brightness", 0.2) == 151).all()
    assert (damaged("brightness", -0.2) == 49).all()
    assert (damaged("brightness", 0.9) == 255).all()
    assert (damaged("brightness", -0.9) == 0).all()


def test_contrast_pulls_each_channel_to_its_own_mean() -> None:
    image = GREY.copy()
    image[:10, :, 0], image[10:, :, 0], image[..., 2] = 80, 120, 40
    found = damaged("contrast", 0.5, image)
    assert (found[:10, :, 0] == 90).all()
    assert (found[10:, :, 0] == 110).all()
    assert (found[..., 1] == 100).all()
    assert (found[..., 2] == 40).all()
    assert (damaged("contrast", 1.0, image) == image).all()


def test_noise_has_its_spread_and_its_seed() -> None:
    image = np.full((200, 200, 3), 128, np.uint8)
    found = damaged("noise", 0.05, image)
    assert float(found.std()) == pytest.approx(0.05 * 255, rel=0.03)
    assert float(found.mean()) == pytest.approx(128, abs=0.5)
    assert (damaged("noise", 0.05, image) == found).all()
    assert (damaged("noise", 0.05, image, seed=1) != found).mean() > 0.8


def test_blur_spreads_a_point_and_keeps_its_sum() -> None:
    image = np.zeros((41, 41, 3), np.uint8)
    image[18:23, 18:23] = 200
    found = damaged("blur", 2, image)
    assert found[20, 15, 0] > 0
    assert found.max() < 200
    assert int(found.sum()) == pytest.approx(int(image.sum()), rel=0.05)


def test_a_lower_jpeg_quality_changes_more() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    differences = [
        float(np.abs(damaged("jpeg", quality, image).astype(int) - image).mean())
        for quality in (90, 30, 5)
    ]
    assert differences == sorted(differences)
    assert differences[0] > 0


def test_only_the_images_of_a_data_set_change() -> None:
    source = open_dataset("scenes:2")
    found = CorruptedData(source, Corruption("noise", 0.1), 3)
    assert len(found) == 2
    assert found.digest() == source.digest()
    first, plain = found.sample(0), source.sample(0)
    assert (first.labels == plain.labels).all()
    assert (first.image != plain.image).mean() > 0.5
    other = found.sample(1).image.astype(int) - source.sample(1).image
    assert (other != first.image.astype(int) - plain.image).mean() > 0.5  # each its own noise


def test_kinds_and_strengths_are_read() -> None:
    assert [item.words for item in parse_corruptions("all")] == [
        "brightness -0.3", "brightness 0.3", "contrast 0.5", "noise 0.05", "noise 0.1",
        "blur 1", "blur 2", "jpeg 30", "jpeg 10",
    ]  # fmt: skip
    assert parse_corruptions("jpeg=10, jpeg=10") == (Corruption("jpeg", 10),)


@pytest.mark.parametrize("text", ["", "fog", "jpeg=0", "noise=x", "noise=nan", "brightness=2"])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="Expected"):
        parse_corruptions(text)
