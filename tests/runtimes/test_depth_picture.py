"""Depth out of a head's output: size, sign, unit, colours."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from segship.common.errors import InputError
from segship.data.contract import Contract
from segship.data.palette import _oklab
from segship.runtimes.depth_picture import (
    depth_colours,
    depth_files,
    depth_from_output,
    depth_picture,
)

PLAIN = Contract(heads=("segmentation", "depth"))


def _output(*shape: int) -> np.ndarray:
    return np.random.default_rng(4).normal(0, 3, shape).astype(np.float32)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size_px", [(75, 133), (19, 34), (10, 11), (1, 1), (152, 272)])
def test_resizing_equals_torch(size_px: tuple[int, int], align_corners: bool) -> None:
    output = _output(2, 1, 19, 34)
    contract = replace(PLAIN, align_corners=align_corners)
    got = depth_from_output(output, contract, size_px)
    want = functional.interpolate(
        torch.from_numpy(output), size_px, mode="bilinear", align_corners=align_corners
    )[:, 0].numpy()
    assert got.dtype == np.float32 and got.shape == (2, *size_px)
    # a float32 position among 34 cells is good to 2e-6, which torch rounds in another order
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_the_sign_goes_after_the_resize_and_the_scale_last() -> None:
    output = np.array([[[[-10.0, 10.0]]]], np.float32)
    contract = replace(PLAIN, depth_abs=True, depth_scale=10.0)
    # bilinear from -10 to 10 in four steps: -10, -5, 5, 10; before the resize it would be 10s
    got = depth_from_output(output, contract, (1, 4))
    np.testing.assert_array_equal(got, np.array([[[1.0, 0.5, 0.5, 1.0]]], np.float32))
    kept = depth_from_output(output, replace(contract, depth_abs=False), (1, 2))
    np.testing.assert_array_equal(kept, np.array([[[-1.0, 1.0]]], np.float32))
    flat = depth_from_output(output[:, 0], contract, (1, 2))
    np.testing.assert_array_equal(flat, np.abs(kept))


def test_the_output_of_the_session_is_left_alone() -> None:
    output = _output(1, 1, 8, 8)
    before = output.copy()
    contract = replace(PLAIN, depth_abs=True, depth_scale=2.0)
    for size_px in ((8, 8), (9, 9)):
        depth_from_output(output, contract, size_px)
    np.testing.assert_array_equal(output, before)


@pytest.mark.parametrize(
    "output", [np.zeros((1, 2, 4, 4), np.float32), np.zeros((1, 1, 4, 4), np.uint8), np.zeros((4,))]
)
def test_what_is_no_depth_map_is_refused(output: Any) -> None:
    with pytest.raises(InputError, match="Expected depth") as caught:
        depth_from_output(output, PLAIN, (4, 4))
    assert "\n" not in str(caught.value)


def test_the_picture_spans_the_range_in_the_unit_of_the_head() -> None:
    contract = replace(PLAIN, depth_scale=10.0, depth_range=(1.0, 5.0))
    depth = np.array([[0.1, 0.5, 0.3], [-7.0, 9.0, np.nan]], np.float32)
    colours = depth_colours()
    picture = depth_picture(depth, contract)
    assert picture.dtype == np.uint8 and picture.shape == (2, 3, 3)
    for got, want in (
        (picture[0, 0], colours[0]),
        (picture[0, 1], colours[255]),
        (picture[1, 0], colours[0]),
        (picture[1, 1], colours[255]),
        (picture[1, 2], (0, 0, 0)),
    ):
        np.testing.assert_array_equal(got, want)
    assert any(np.array_equal(picture[0, 2], colours[index]) for index in (127, 128))


def test_equal_steps_of_depth_look_equally_large() -> None:
    lab = _oklab(depth_colours().astype(np.int64))
    assert (np.diff(lab[:, 0]) > 0).all()  # a grey print keeps the order
    # steps of 16, so that rounding to 8 bits (up to 0.002 a step) does not count
    steps = np.linalg.norm(lab[16::16] - lab[:-16:16], axis=1)
    assert steps.max() / steps.min() < 1.1  # measured 1.03


def test_the_files_hold_the_picture_and_the_values() -> None:
    depth = _output(5, 7)
    png, values = depth_files(depth, PLAIN)
    with Image.open(io.BytesIO(png)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), depth_picture(depth, PLAIN))
    loaded = np.load(io.BytesIO(values), allow_pickle=False)
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, depth)
