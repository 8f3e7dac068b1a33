"""Colours for labels, and palette PNG files read back."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segship.common.errors import InputError
from segship.data.masks import read_mask
from segship.data.palette import colorize, default_palette, overlay, palette_png, read_palette


def test_default_palette_is_distinct_and_a_prefix_of_itself() -> None:
    colours = default_palette(150)
    assert len(set(colours)) == 150
    assert default_palette(19) == colours[:19]
    assert len(default_palette(1000)) == 1000
    assert (0, 0, 0) not in colours


def test_default_palette_keeps_apart_without_the_green_red_difference() -> None:
    # brightness and blue-yellow alone must tell the first colours apart
    colours = np.array(default_palette(8), float)
    seen = np.stack([colours @ (0.3, 0.59, 0.11), colours @ (0.5, 0.5, -1)], axis=1)
    distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert distance[~np.eye(8, dtype=bool)].min() > 30


def test_default_palette_refuses_a_negative_number() -> None:
    with pytest.raises(InputError, match="0 or more"):
        default_palette(-1)


def test_colorize_paints_unknown_labels_black() -> None:
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    found = colorize(labels, [(1, 2, 3), (4, 5, 6)])
    assert found.tolist() == [[[1, 2, 3], [4, 5, 6]], [[0, 0, 0], [0, 0, 0]]]


def test_overlay_mixes_and_leaves_ignored_pixels() -> None:
    image = np.full((1, 3, 3), 100, np.uint8)
    labels = np.array([[0, 1, 255]], np.uint8)
    found = overlay(image, labels, [(200, 200, 200), (0, 0, 0)], 0.5)
    assert found[0, :, 0].tolist() == [150, 50, 100]
    painted = overlay(image, labels, [(200, 200, 200), (7, 7, 7)], 1.0)
    assert painted[0, :, 0].tolist() == [200, 7, 100]
    assert np.array_equal(overlay(image, labels, [(200, 200, 200)], 0.0), image)
    with pytest.raises(InputError, match="image's size"):
        overlay(image, labels.T, [(0, 0, 0)])


@settings(max_examples=30, deadline=None)  # no deadline: the machine is shared
@given(st.integers(1, 256), st.integers(0, 1000), st.booleans())
def test_palette_png_keeps_every_label(classes: int, seed: int, ignored: bool) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, (5, 7)).astype(np.uint8)
    if ignored:
        labels[0, 0] = 255
    palette = default_palette(classes)
    data = palette_png(labels, palette)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), labels)
    assert read_palette(data)[:classes] == palette


def test_palette_png_of_many_classes_is_sixteen_bit(tmp_path: Path) -> None:
    labels = np.array([[0, 300], [65535, 2]], np.int32)
    file = tmp_path / "deep.png"
    file.write_bytes(palette_png(labels, default_palette(301)))
    assert np.array_equal(read_mask(file), labels)
    assert read_palette(file.read_bytes()) == ()
    with pytest.raises(InputError, match="65535"):
        palette_png(labels + 1, ())
