"""labels.cu gives the CPU form's bits: the same source, compiled for the host."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segship.common.errors import CheckFailedError, InputError, MissingDependencyError
from segship.data.contract import Contract
from segship.runtimes.cuda.kernels import Kernels
from segship.runtimes.cuda.labels import GpuLabels
from segship.runtimes.labels import labels_from_output
from segship.runtimes.upsample_argmax import dense_upsample_argmax, upsample_argmax
from segship.tests.runtimes.fake_kernels import FakeLabeller

Logits = NDArray[Any]


@pytest.fixture(scope="module")
def gpu() -> Iterator[FakeLabeller]:
    """A fake GPU with the kernels; whoever leaves something alive on it fails."""
    fake = FakeLabeller()
    yield fake
    fake.close()
    gc.collect()
    assert fake.machine.live() == 0 and fake.driver.fake_loaded() == 0


def _noise(*shape: int, seed: int = 3) -> Logits:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _hard(kind: str, shape: tuple[int, ...], seed: int) -> Logits:
    """Logits that rounding, ties or range make hard."""
    noise = _noise(*shape, seed=seed)
    if kind == "ties":
        return np.round(noise)
    if kind == "ulps":  # every class within a few units in the last place of the others
        steps = np.random.default_rng(seed).integers(0, 3, shape).astype(np.int32)
        base = np.ascontiguousarray(np.broadcast_to(noise[:, :1] + np.float32(3), shape))
        return (base.view(np.int32) + steps).view(np.float32)
    scale = {"tiny": 1e-38, "huge": 1e30}.get(kind, 1.0)
    smooth = noise.cumsum(axis=-1).cumsum(axis=-2) if kind == "smooth" else noise
    return np.asarray(smooth * np.float32(scale), np.float32)


KINDS = ("noise", "smooth", "ties", "ulps", "tiny", "huge")
# one class stands alone here, and with a threshold below
CLASSES = (1, 2, 11, 19, 150)
# odd sizes up by 1, 2, 4 and 4.3, then down, then both ways at once, then a single pixel
SIZES = [(13, 17), (26, 34), (52, 68), (56, 73), (5, 4), (40, 3), (1, 1)]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size_px", SIZES)
@pytest.mark.parametrize("classes", CLASSES)
def test_the_same_labels_as_on_the_cpu(
    gpu: FakeLabeller, classes: int, size_px: tuple[int, int], align_corners: bool
) -> None:
    logits = _noise(3, classes, 13, 17, seed=classes)
    labels = gpu.labels(logits, size_px, align_corners=align_corners)
    expected = upsample_argmax(logits, size_px, align_corners=align_corners)
    assert labels.dtype == expected.dtype
    np.testing.assert_array_equal(labels, expected)


@settings(max_examples=150, deadline=None)  # no deadline: other work shares the machine
@given(data=st.data())
def test_the_same_labels_whatever_the_logits(gpu: FakeLabeller, data: st.DataObject) -> None:
    side, wanted = st.integers(1, 12), st.integers(1, 45)
    shape = (
        data.draw(st.integers(1, 3)),
        data.draw(st.integers(1, 20)),
        data.draw(side),
        data.draw(side),
    )
    logits = _hard(data.draw(st.sampled_from(KINDS)), shape, data.draw(st.integers(0, 2**32 - 1)))
    size_px, corners = (data.draw(wanted), data.draw(wanted)), data.draw(st.booleans())
    labels = gpu.labels(logits, size_px, align_corners=corners)
    expected = dense_upsample_argmax(logits, size_px, align_corners=corners)
    np.testing.assert_array_equal(labels, expected)


def test_rounding_that_makes_a_lower_class_equal_is_followed(gpu: FakeLabeller) -> None:
    """Class 1 leads by one unit in the last place at every corner; interpolation loses it."""
    lower = np.random.default_rng(1).uniform(1, 2, (1, 1, 24, 24)).astype(np.float32)
    logits = np.concatenate((lower, np.nextafter(lower, np.float32(9))), axis=1)
    labels = gpu.labels(logits, (100, 100))
    assert 0 < (labels == 0).sum() < labels.size  # else this test could not fail
    np.testing.assert_array_equal(labels, dense_upsample_argmax(logits, (100, 100)))


@pytest.mark.parametrize("classes", [2, 19, 300])
def test_float16_is_widened(gpu: FakeLabeller, classes: int) -> None:
    logits: Logits = _noise(2, classes, 9, 7).astype(np.float16)
    logits[0, 0, 0, :4] = [6e-8, -6e-8, 65504, 0]  # the smallest, the largest
    labels = gpu.labels(logits, (37, 28))
    expected = upsample_argmax(logits, (37, 28))
    assert labels.dtype == expected.dtype == (np.uint8 if classes <= 256 else np.int32)
    np.testing.assert_array_equal(labels, expected)


def test_every_finite_float16_is_widened_exactly(gpu: FakeLabeller) -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = np.sort(every[np.isfinite(every)])
    above = np.roll(finite, -1)  # the next larger one, and the smallest beside the largest
    logits: Logits = np.stack((finite, above)).reshape(1, 2, 248, 256)
    labels = gpu.labels(logits, (301, 300))  # between positions, where values decide
    np.testing.assert_array_equal(labels, upsample_argmax(logits, (301, 300)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("threshold", [0.5, 0.2, 0.937])
def test_one_class_with_a_threshold(gpu: FakeLabeller, threshold: float, dtype: type) -> None:
    logits: Logits = _noise(2, 1, 16, 12).astype(dtype)
    logits[0, 0, :4, :4] = np.log(threshold / (1 - threshold))  # ties go to the background
    contract = Contract(classes=("crack",), threshold=threshold)
    found = labels_from_output(gpu.upload(logits), contract, (67, 45), method="gpu")
    expected = labels_from_output(logits, contract, (67, 45))
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(found, expected)


def test_the_threshold_is_rounded_as_the_cpu_form_rounds_it(gpu: FakeLabeller) -> None:
    level = np.float32(np.log(0.3 / 0.7))
    steps = np.random.default_rng(7).integers(-2, 3, (1, 1, 24, 24)).astype(np.int32)
    logits: Logits = (np.full_like(steps, level.view(np.int32)) + steps).view(np.float32)
    contract = Contract(classes=("crack",), threshold=0.3)
    found = labels_from_output(gpu.upload(logits), contract, (100, 101), method="gpu")
    np.testing.assert_array_equal(found, labels_from_output(logits, contract, (100, 101)))


def test_labels_are_the_callers_own(gpu: FakeLabeller) -> None:
    first = gpu.labels(_noise(1, 5, 6, 6, seed=1), (24, 24))
    kept = first.copy()
    gpu.labels(_noise(1, 5, 6, 6, seed=2), (24, 24))
    np.testing.assert_array_equal(first, kept)


def test_the_first_images_alone(gpu: FakeLabeller) -> None:
    """A static batch is filled with copies of one image, whose labels are asked for once."""
    logits = _noise(3, 4, 5, 6)
    some = gpu.upload(logits)[:2]
    np.testing.assert_array_equal(some.labels((20, 24)), upsample_argmax(logits[:2], (20, 24)))
    with pytest.raises(InputError, match="first images"):
        some[1:]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_refused(
    gpu: FakeLabeller, value: float, dtype: type
) -> None:
    logits: Logits = _noise(2, 3, 4, 4).astype(dtype)
    logits[1, 2, 3, 3] = value
    with pytest.raises(InputError, match="finite"):
        gpu.labels(logits, (8, 8))
    logits[1, 2, 3, 3] = 0
    gpu.labels(logits, (8, 8))  # the mark of the last call is gone


@pytest.mark.parametrize(
    ("logits", "size_px", "words"),
    [
        (np.zeros((1, 2, 4, 4)), (8, 8), "float32 or float16, but got float64"),
        (np.zeros((2, 4, 4), np.float32), (8, 8), r"shape \(2, 4, 4\)"),
        (np.zeros((1, 2, 4, 4), np.float32), (0, 8), "positive label size"),
        (np.zeros((1, 2, 4, 4), np.float32), (600_000, 1), "split them"),
        (np.zeros((65_536, 1, 1, 1), np.float32), (1, 1), "split them"),
    ],
    ids=["float64", "three axes", "empty", "rows", "batch"],
)
def test_refuses_what_the_kernels_cannot_take(
    gpu: FakeLabeller, logits: Logits, size_px: tuple[int, int], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        gpu.labels(logits, size_px)


def test_memory_of_the_labels_that_is_not_there(gpu: FakeLabeller) -> None:
    with pytest.raises(InputError, match="out of memory"):
        gpu.labels(_noise(2, 2, 4, 4), (30_000, 30_000))
    assert gpu.labels(_noise(1, 2, 4, 4), (8, 8)).shape == (1, 8, 8)


def test_an_image_the_driver_refuses_leaves_nothing_behind(gpu: FakeLabeller) -> None:
    alive = gpu.machine.live()
    with pytest.raises(CheckFailedError, match="error 200, device kernel image is invalid"):
        GpuLabels(gpu.cuda, image=b"something else", driver=gpu.driver._name)
    assert gpu.machine.live() == alive


def test_without_a_driver_and_without_a_kernel_of_that_name(gpu: FakeLabeller) -> None:
    with pytest.raises(MissingDependencyError, match="NVIDIA driver"):
        Kernels(b"", "libcuda-none.so")
    kernels = Kernels(b"labels.cu", gpu.driver._name)
    with pytest.raises(CheckFailedError, match="named symbol not found"):
        kernels.launch("leaders_float64", (1, 1, 1), (1, 1, 1), gpu.stream, ())
    kernels.close()
    kernels.close()
