"""The sparse form equals the dense one in every pixel, whatever the logits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from segship.common.errors import InputError
from segship.data.preprocess import decode, preprocess
from segship.models.checkpoints import load_checkpoint
from segship.runtimes import sparse_cells
from segship.runtimes.upsample_argmax import (
    dense_torch_upsample_argmax,
    dense_upsample_argmax,
    upsample_argmax,
)

Logits = NDArray[np.float32]
NEAR_TIE = 1e-5  # relative top-2 gap below which torch's fused arithmetic may decide otherwise
UNDERFLOW = 1e-37  # the same below the smallest normal float32, where precision is absolute


@dataclass(frozen=True)
class Case:
    """One up-sampling to check."""

    logits: Logits
    size_px: tuple[int, int]
    align_corners: bool


def _logits(kind: str, shape: tuple[int, ...], seed: int) -> Logits:
    """Logits of (B,K,h,w) that are hard in one way or another."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal(shape).astype(np.float32)
    if kind == "ties":
        return np.round(noise)
    if kind == "constant":
        return np.broadcast_to(np.round(noise[:, :, :1, :1]), shape).astype(np.float32)
    if kind == "ulps":  # every class within a few units in the last place of the others
        steps = random.integers(0, 3, shape).astype(np.int32)
        base = np.broadcast_to(noise[:, :1] + np.float32(3), shape)
        return (np.ascontiguousarray(base).view(np.int32) + steps).view(np.float32)
    if kind == "tiny":
        return np.asarray(noise * np.float32(1e-38))
    if kind == "huge":
        return np.asarray(noise * np.float32(1e30))
    if kind == "zero":
        return np.asarray(
            np.where(noise > 1, np.float32(1e-45), np.float32(-0.0)).astype(np.float32)
        )
    smooth = np.cumsum(noise, axis=-1).cumsum(axis=-2).astype(np.float32)
    return smooth if kind == "smooth" else noise


KINDS = ("noise", "smooth", "ties", "constant", "ulps", "tiny", "huge", "zero")


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any batch, classes, sizes up and down, both align_corners."""
    side = st.integers(1, 12)
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 20)), draw(side), draw(side))
    height, width = draw(st.integers(1, 45)), draw(st.integers(1, 45))
    if draw(st.booleans()):  # whole factors, which real models have
        height, width = shape[2] * draw(st.integers(1, 5)), shape[3] * draw(st.integers(1, 5))
    logits = _logits(draw(st.sampled_from(KINDS)), shape, draw(st.integers(0, 2**32 - 1)))
    return Case(logits, (height, width), draw(st.booleans()))


@settings(max_examples=300, deadline=None)  # no deadline: other work shares the machine
@given(cases())
def test_equals_the_dense_form_everywhere(case: Case) -> None:
    sparse = upsample_argmax(case.logits, case.size_px, align_corners=case.align_corners)
    dense = dense_upsample_argmax(case.logits, case.size_px, align_corners=case.align_corners)
    assert sparse.shape == (len(case.logits), *case.size_px)
    assert sparse.dtype == dense.dtype == np.uint8
    np.testing.assert_array_equal(sparse, dense)


@settings(max_examples=100, deadline=None)  # no deadline: other work shares the machine
@given(cases())
def test_differs_from_torch_only_in_near_ties(case: Case) -> None:
    sparse = upsample_argmax(case.logits, case.size_px, align_corners=case.align_corners)
    full = functional.interpolate(
        torch.from_numpy(case.logits).double(),
        size=case.size_px,
        mode="bilinear",
        align_corners=case.align_corners,
    ).numpy()
    chosen = np.take_along_axis(full, sparse[:, None].astype(np.int64), axis=1)[:, 0]
    gap = full.max(axis=1) - chosen
    assert (gap <= NEAR_TIE * np.abs(case.logits).max() + UNDERFLOW).all()


@settings(max_examples=100, deadline=None)  # no deadline: other work shares the machine
@given(cases())
def test_dense_torch_differs_only_in_near_ties(case: Case) -> None:
    sparse = upsample_argmax(case.logits, case.size_px, align_corners=case.align_corners)
    dense = dense_torch_upsample_argmax(case.logits, case.size_px, align_corners=case.align_corners)
    assert dense.dtype == sparse.dtype
    full = functional.interpolate(
        torch.from_numpy(case.logits),
        size=case.size_px,
        mode="bilinear",
        align_corners=case.align_corners,
    ).numpy()
    rival = [
        np.take_along_axis(full, labels[:, None].astype(np.int64), axis=1)
        for labels in (sparse, dense)
    ]
    gap = np.abs(rival[0] - rival[1])[:, 0]
    assert (gap[sparse != dense] <= NEAR_TIE * np.abs(case.logits).max() + UNDERFLOW).all()


def test_rounding_that_makes_a_lower_class_equal_is_followed() -> None:
    """Class 1 leads by one unit in the last place at every corner; interpolation loses it."""
    random = np.random.default_rng(1)
    lower = random.uniform(1, 2, (1, 1, 24, 24)).astype(np.float32)
    logits = np.concatenate((lower, np.nextafter(lower, np.float32(9))), axis=1)
    assert (logits.argmax(axis=1) == 1).all()
    dense = dense_upsample_argmax(logits, (100, 100))
    assert 0 < (dense == 0).sum() < dense.size  # else this test could not fail
    np.testing.assert_array_equal(upsample_argmax(logits, (100, 100)), dense)


def test_a_class_that_leads_at_no_corner_can_win_inside() -> None:
    corners = np.array([[5, 0, 4], [0, 5, 4]], np.float32)  # two positions, three classes
    logits = np.ascontiguousarray(corners.T.reshape(1, 3, 1, 2))
    labels = upsample_argmax(logits, (1, 16))
    assert set(labels.ravel().tolist()) == {0, 1, 2}
    np.testing.assert_array_equal(labels, dense_upsample_argmax(logits, (1, 16)))


@pytest.mark.parametrize("classes", [255, 256, 257, 400])
def test_many_classes(classes: int) -> None:
    logits = _logits("noise", (1, classes, 9, 7), classes)
    labels = upsample_argmax(logits, (36, 28))
    assert labels.dtype == (np.uint8 if classes <= 256 else np.int32)
    assert labels.max() >= classes - 20
    np.testing.assert_array_equal(labels, dense_upsample_argmax(logits, (36, 28)))


def test_more_cells_than_fit_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_cells, "_CHUNK_PIXELS", 100)
    logits = _logits("noise", (2, 6, 13, 11), 3)
    size = (13 * 4, 11 * 4)
    np.testing.assert_array_equal(
        upsample_argmax(logits, size), dense_upsample_argmax(logits, size)
    )


def test_a_strided_view_and_float16_are_taken_as_they_are() -> None:
    wide = _logits("noise", (1, 8, 8, 5), 4)
    view = wide[:, ::2, :, ::-1]
    np.testing.assert_array_equal(
        upsample_argmax(view, (30, 20)), dense_upsample_argmax(view.copy(), (30, 20))
    )
    half = view.astype(np.float16)
    np.testing.assert_array_equal(
        upsample_argmax(half, (30, 20)), dense_upsample_argmax(half.astype(np.float32), (30, 20))
    )


def test_results_do_not_share_memory() -> None:
    first = upsample_argmax(_logits("noise", (1, 5, 6, 6), 1), (24, 24))
    kept = first.copy()
    upsample_argmax(_logits("noise", (1, 5, 6, 6), 2), (24, 24))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((3, 4, 4), np.float32), ((1, 3, 4, 4), np.float64), ((1, 0, 4, 4), np.float32)],
)
def test_refuses_what_is_no_float32_map(shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(InputError, match=r"Expected logits .* but got"):
        upsample_argmax(np.zeros(shape, dtype), (8, 8))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_one_value_that_is_not_finite(value: float) -> None:
    logits = _logits("noise", (1, 3, 4, 4), 7)
    logits[0, 1, 2, 3] = value
    with pytest.raises(InputError, match="finite"):
        upsample_argmax(logits, (8, 8))


def test_refuses_an_empty_size() -> None:
    with pytest.raises(InputError, match="positive"):
        upsample_argmax(np.zeros((1, 2, 4, 4), np.float32), (0, 8))


def test_real_logits_agree_with_torch_in_every_pixel(shared_dir: Path) -> None:
    """Eleven classes, 128×160 to 512×640, as design.md measured it."""
    checkpoint = load_checkpoint(shared_dir / "checkpoints" / "segformer-b0-camvid")
    contract = checkpoint.contract.with_size(512, 640)
    image = sorted((shared_dir / "camvid" / "val").iterdir())[50]
    with torch.inference_mode():
        pixels = torch.from_numpy(preprocess(decode(image.read_bytes()), contract))
        logits = checkpoint.model(pixels)["segmentation"].numpy()
    assert logits.shape == (1, 11, 128, 160)
    labels = upsample_argmax(logits, (512, 640))
    assert len(np.unique(labels)) > 5
    np.testing.assert_array_equal(labels, dense_upsample_argmax(logits, (512, 640)))
    np.testing.assert_array_equal(labels, dense_torch_upsample_argmax(logits, (512, 640)))
