"""Sliding windows and the mirrored image against plain loops in torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from segship.benchmark.dense import decide
from segship.benchmark.evaluate import evaluate
from segship.benchmark.scoring import Scoring
from segship.benchmark.subject import Subject
from segship.benchmark.windows import Slide
from segship.common.errors import InputError
from segship.data.contract import Contract, InputKind, OutputKind, ResizeRule
from segship.data.preprocess import preprocess
from segship.data.scenes import Scenes
from segship.runtimes.depth_picture import depth_from_output
from segship.tests.benchmark.fakes import FunctionSession

Tiny = Callable[..., Any]
CLASSES = ("a", "b", "c", "d", "e")
CROP, STRIDE = (32, 48), (20, 36)
KERNEL = 0.1 * torch.randn(6, 3, 7, 7, generator=torch.Generator().manual_seed(3))


def network(pixels: np.ndarray) -> torch.Tensor:
    """Return (n,6,h/4,w/4): five logits and a depth that depend on where a window ends."""
    return functional.conv2d(torch.from_numpy(pixels).float(), KERNEL, stride=4, padding=3)


def run(pixels: np.ndarray) -> dict[str, np.ndarray]:
    found = network(pixels).numpy()
    return {"segmentation": found[:, :5], "depth": found[:, 5:]}


def contract_of(**values: Any) -> Contract:
    heads = ("segmentation", "depth")
    base = Contract(size_px=CROP, classes=CLASSES, heads=heads, resize=ResizeRule.NONE)
    return replace(base, **values)


def image_of(size_px: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, *size_px)).astype(np.float32)


def reference(
    pixels: np.ndarray, corners: bool, output: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Return the mean over windows (C,H,W) as published sliding inference does it: one by one."""
    height, width = pixels.shape[2:]
    bottom, right = max(0, CROP[0] - height), max(0, CROP[1] - width)
    image = functional.pad(torch.from_numpy(pixels), (0, right, 0, bottom))
    rows, columns = image.shape[2:]
    down = max(rows - CROP[0] + STRIDE[0] - 1, 0) // STRIDE[0] + 1
    across = max(columns - CROP[1] + STRIDE[1] - 1, 0) // STRIDE[1] + 1
    total, count = torch.zeros(1), torch.zeros(1, 1, rows, columns)
    for row in range(down):
        for column in range(across):
            y = min(row * STRIDE[0], rows - CROP[0])
            x = min(column * STRIDE[1], columns - CROP[1])
            window = image[:, :, y : y + CROP[0], x : x + CROP[1]]
            logits = functional.interpolate(
                network(window.numpy()), CROP, mode="bilinear", align_corners=corners
            )
            right_of, below = columns - x - CROP[1], rows - y - CROP[0]
            total = total + functional.pad(output(logits), (x, right_of, y, below))
            count[:, :, y : y + CROP[0], x : x + CROP[1]] += 1
    assert int(count.min()) >= 1
    return (total / count)[0, :, :height, :width]


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("batch", [None, 1, 4])
@pytest.mark.parametrize("size_px", [(32, 48), (75, 133), (33, 49), (20, 133), (20, 30)])
def test_windows_equal_a_plain_loop(
    size_px: tuple[int, int], batch: int | None, corners: bool
) -> None:
    contract = contract_of(align_corners=corners, depth_abs=True, depth_scale=10.0)
    session = FunctionSession(run, contract, batch)
    subject = Subject("x", session, contract, slide=Slide(CROP, STRIDE))
    pixels = image_of(size_px)
    seen = subject.see(pixels, size_px, size_px)
    logits = reference(pixels, corners, lambda found: found[:, :5]).numpy()
    depth = reference(pixels, corners, lambda found: found[:, 5:].abs() / 10).numpy()
    assert seen.labels is not None and seen.depth is not None
    top = np.sort(logits, axis=0)
    clear = top[-1] - top[-2] > 1e-4  # elsewhere float32 sums in another order may decide
    assert clear.mean() > 0.99
    assert np.array_equal(seen.labels[clear], logits.argmax(0)[clear])
    # float32: sums of 147 products in another order
    np.testing.assert_allclose(seen.depth, depth[0], rtol=1e-4, atol=1e-5)
    wanted = None if batch is None else {batch}
    assert wanted is None or {shape[0] for shape in session.shapes} == wanted
    assert {shape[2:] for shape in session.shapes} == {CROP}
    if batch is None:
        assert len(session.shapes) == 1  # all windows of these sizes fit one batch


def test_the_labels_may_have_another_size_than_the_image() -> None:
    contract = contract_of()
    subject = Subject("x", FunctionSession(run, contract), contract, slide=Slide(CROP, STRIDE))
    pixels, wanted = image_of((75, 133)), (60, 100)
    labels = subject.see(pixels, wanted, None).labels
    logits = reference(pixels, False, lambda found: found[:, :5])[None]
    full = functional.interpolate(logits, wanted, mode="bilinear")[0].numpy()
    top = np.sort(full, axis=0)
    clear = top[-1] - top[-2] > 1e-4  # as above
    assert labels is not None and np.array_equal(labels[clear], full.argmax(0)[clear])


def test_raw_pixels_are_padded_with_the_mean_colour() -> None:
    contract = contract_of(input=InputKind.UINT8, heads=("segmentation",))
    fed = []

    def keep(pixels: np.ndarray) -> dict[str, np.ndarray]:
        fed.append(pixels.copy())
        return {"segmentation": run(pixels)["segmentation"]}

    subject = Subject("x", FunctionSession(keep, contract), contract, slide=Slide(CROP, STRIDE))
    subject.see(np.zeros((1, 3, 20, 48), np.uint8), (20, 48), None)
    # 255 · (0.485, 0.456, 0.406) = 123.7, 116.3, 103.5: the nearest whole values, half to even
    assert fed[0][0, :, 20:, 0].T.tolist() == [[124, 116, 104]] * 12
    assert not fed[0][0, :, :20].any()


@pytest.mark.parametrize("slide", [None, Slide(CROP, STRIDE)])
@pytest.mark.parametrize("output", [OutputKind.LOGITS, OutputKind.LOGITS_FULL])
def test_flip_averages_probabilities_of_both_ways(slide: Slide | None, output: OutputKind) -> None:
    size_px = (32, 48) if slide is None else (75, 133)
    contract = contract_of(output=output)
    buffer: dict[str, np.ndarray] = {}

    def reuse(pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Return the same memory every time, as some runtimes do."""
        for head, found in run(pixels).items():
            if output is OutputKind.LOGITS_FULL:
                size = pixels.shape[2:]
                found = functional.interpolate(
                    torch.from_numpy(found), size, mode="bilinear"
                ).numpy()
            if head in buffer and buffer[head].shape == found.shape:
                buffer[head][:] = found
            else:
                buffer[head] = np.array(found)
        return buffer

    session = FunctionSession(reuse, contract)
    subject = Subject("x", session, contract, slide=slide, flip=True)
    pixels = image_of(size_px)
    seen = subject.see(pixels, size_px, size_px)

    def one_way(image: np.ndarray, channels: slice) -> torch.Tensor:
        if slide is not None:
            return reference(image, False, lambda found: found[:, channels])
        found = network(image)[:, channels]
        return functional.interpolate(found, size_px, mode="bilinear")[0]

    flipped = np.ascontiguousarray(pixels[..., ::-1])
    there, back = (one_way(image, slice(0, 5)) for image in (pixels, flipped))
    mean = ((there.softmax(0) + back.softmax(0).flip(-1)) / 2).numpy()
    top = np.sort(mean, axis=0)
    clear = top[-1] - top[-2] > 1e-4  # as above
    assert seen.labels is not None and clear.mean() > 0.99
    assert np.array_equal(seen.labels[clear], mean.argmax(0)[clear])
    logits = ((there + back.flip(-1)) / 2).numpy()
    assert (mean.argmax(0) != logits.argmax(0)).any()  # the two definitions can be told apart
    there, back = (one_way(image, slice(5, 6)) for image in (pixels, flipped))
    assert seen.depth is not None
    want = ((there + back.flip(-1)) / 2)[0].numpy()
    np.testing.assert_allclose(seen.depth, want, rtol=1e-4, atol=1e-5)  # float32 sums


def test_flip_of_one_class_averages_sigmoids() -> None:
    contract = Contract(classes=("background", "nail"), threshold=0.39)
    ways = [
        np.array([[[2.0, -4.0, -0.6]]], np.float32),
        np.array([[[-9.0, 0.6, -0.2]]], np.float32),
    ]
    # sigmoids: (0.881 + 0.000) / 2 = 0.440 > 0.39; (0.018 + 0.646) / 2 = 0.332; 0.402 > 0.39
    assert decide(ways, contract, (1, 3)).tolist() == [[1, 0, 1]]
    assert decide(ways[:1], contract, (1, 3)).tolist() == [[1, 0, 0]]  # 0.881, 0.018, 0.354


def test_flip_refuses_an_overflow() -> None:
    ways = [np.full((5, 1, 1), value, np.float32) for value in (0, np.nan)]
    with pytest.raises(InputError, match="overflowed"):
        decide(ways, contract_of(), (1, 1))


@settings(deadline=None, max_examples=200)
@given(size=st.integers(1, 400), crop=st.integers(1, 90), step=st.floats(0.02, 1))
def test_windows_lie_inside_and_cover_every_pixel(size: int, crop: int, step: float) -> None:
    crop = min(crop, size)
    stride = max(1, int(step * crop))
    starts = [x for _, x in Slide((1, crop), (1, stride)).corners((1, size))]
    published = max(size - crop + stride - 1, 0) // stride + 1
    assert starts == [min(n * stride, size - crop) for n in range(published)]
    assert {pixel for start in starts for pixel in range(start, start + crop)} == set(range(size))


@pytest.mark.parametrize("stride", [(0, 4), (33, 48)])
def test_a_stride_with_gaps_is_refused(stride: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="leaves pixels out"):
        Slide(CROP, stride)


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_real_model_slides_over_a_real_data_set(tiny: Tiny, dynamic: bool) -> None:
    made = tiny("dynamic" if dynamic else "plain", dynamic=dynamic)
    crop = (96, 128) if dynamic else (64, 96)
    scoring = Scoring("slide", crop_px=crop)
    record = evaluate([made.candidate], "scenes:1", scoring=scoring, progress=False)
    sample, model = Scenes(1).sample(0), made.model()
    fed = replace(made.contract, resize=ResizeRule.NONE)
    pixels = torch.from_numpy(preprocess(sample.image, fed))
    height, width = sample.labels.shape
    total, count = torch.zeros(1, 9, height, width), torch.zeros(height, width)
    step = (crop[0] * 3 // 4, crop[1] * 3 // 4)
    for y in range(0, height - crop[0] + step[0], step[0]):
        for x in range(0, width - crop[1] + step[1], step[1]):
            top, left = min(y, height - crop[0]), min(x, width - crop[1])
            place = (slice(top, top + crop[0]), slice(left, left + crop[1]))
            with torch.no_grad():
                logits = model(pixels[:, :, place[0], place[1]])["segmentation"]
            full = functional.interpolate(logits, crop, mode="bilinear")
            total[:, :, place[0], place[1]] += full
            count[place] += 1
    prediction = (total / count).argmax(1)[0].numpy()
    accuracy = record.measurements[0].accuracy
    assert accuracy is not None
    scored = sample.labels != Scenes(1).ignore_index
    want = np.zeros((9, 9), np.int64)
    np.add.at(want, (sample.labels[scored], prediction[scored]), 1)
    # torch and ONNX Runtime round differently; a tie may fall the other way on a few pixels
    assert np.abs(np.array(accuracy.confusion) - want).sum() <= 1e-3 * want.sum()
    words = record.protocol.evaluation
    assert f"windows of {crop[0]}x{crop[1]} every {step[0]}x{step[1]} px" in words


def test_what_cannot_slide_is_refused(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="static at batch 1 of 64x96"):
        scoring = Scoring("slide", crop_px=(128, 128))
        evaluate([tiny().candidate], "scenes:1", scoring=scoring, progress=False)
    with pytest.raises(InputError, match="only with sliding windows"):
        Scoring(crop_px=(64, 64))


def test_depth_of_a_window_is_that_of_the_whole_rule() -> None:
    contract = contract_of(depth_abs=True, depth_scale=10.0)
    output = np.array([[[[-20.0]]]], np.float32)
    assert depth_from_output(output, contract, (1, 1)).tolist() == [[[2.0]]]
