"""Decoding and preprocessing, against Pillow by hand and the Hugging Face processor."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from segship.common.errors import InputError
from segship.data.contract import ChannelOrder, Contract, InputKind, Resample, ResizeRule
from segship.data.preprocess import decode, preprocess


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_decode_returns_the_stored_pixels() -> None:
    pixels = picture(7, 5)
    assert np.array_equal(decode(encoded(Image.fromarray(pixels))), pixels)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
def test_decode_makes_rgb_of_every_mode(mode: str) -> None:
    image = Image.fromarray(picture(9, 6)).convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    found = decode(encoded(image, kind))
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.asarray(image.convert("RGB")))


def test_decode_turns_the_image_upright() -> None:
    pixels = picture(6, 4)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the first row belongs at the right-hand side
    found = decode(encoded(Image.fromarray(pixels), exif=exif))
    assert np.array_equal(found, np.rot90(pixels, -1))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_decode_names_a_broken_file_in_one_line(kind: str) -> None:
    whole = encoded(Image.fromarray(picture(64, 64)), kind)
    for data in (whole[: len(whole) // 2], b"no image", b""):
        with pytest.raises(InputError, match=r"holiday\.jpg") as caught:
            decode(data, "holiday.jpg")
        assert "\n" not in str(caught.value)


def test_decode_refuses_deep_grey_images() -> None:
    deep = Image.fromarray(np.full((4, 4), 4000, np.uint16))
    with pytest.raises(InputError, match="8 bits"):
        decode(encoded(deep), "deep.png")


def by_hand(image: np.ndarray, contract: Contract) -> np.ndarray:
    """Return the contract's formula in float64."""
    if contract.channel_order is ChannelOrder.BGR:
        image = image[..., ::-1]
    wide = image.astype(np.float64) * contract.scale
    planes: np.ndarray = ((wide - contract.mean) / contract.std).transpose(2, 0, 1)[None]
    return planes


@settings(max_examples=40, deadline=None)  # no deadline: the machine is shared
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(ChannelOrder),
    st.sampled_from(Resample),
)
def test_preprocess_follows_the_contract_at_any_size(
    stored: tuple[int, int], wanted: tuple[int, int], order: ChannelOrder, resample: Resample
) -> None:
    image = picture(*stored)
    contract = Contract(size_px=wanted, channel_order=order, resample=resample)
    resized = Image.fromarray(image).resize(wanted[::-1], Image.Resampling[resample.name])
    found = preprocess(image, contract)
    assert found.shape == (1, 3, *wanted)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    expected = by_hand(np.asarray(resized), contract)
    assert np.abs(found - expected).max() < 1e-6  # float32 rounding of values up to 2.7


def test_preprocess_keeps_the_size_without_a_resize_rule() -> None:
    contract = Contract(size_px=(8, 8), resize=ResizeRule.NONE)
    assert preprocess(picture(5, 9), contract).shape == (1, 3, 5, 9)


@pytest.mark.parametrize("order", ChannelOrder)
def test_uint8_contract_gets_raw_pixels(order: ChannelOrder) -> None:
    image = picture(6, 8)
    contract = Contract(size_px=(6, 8), input=InputKind.UINT8, channel_order=order)
    found = preprocess(image, contract)
    planes = image.transpose(2, 0, 1) if order is ChannelOrder.RGB else image.T[::-1].swapaxes(1, 2)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert np.array_equal(found[0], planes)


def test_preprocess_refuses_what_is_no_rgb_image() -> None:
    images: tuple[NDArray[Any], ...] = (
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    )
    for wrong in images:
        with pytest.raises(InputError, match="RGB"):
            preprocess(wrong, Contract())


@pytest.mark.parametrize("stored", [(64, 96), (37, 53), (200, 120)])
@pytest.mark.parametrize("resample", Resample)
def test_preprocess_equals_the_hugging_face_processor(
    stored: tuple[int, int], resample: Resample
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers deprecations are not ours
        processors = pytest.importorskip(
            "transformers.models.segformer.image_processing_pil_segformer",
            reason="the oracle needs transformers",
        )
        oracle = processors.SegformerImageProcessorPil(
            size={"height": 64, "width": 96}, resample=int(Image.Resampling[resample.name])
        )
        image = picture(*stored)
        expected = oracle(images=Image.fromarray(image), return_tensors="np")["pixel_values"]
    found = preprocess(image, Contract(size_px=(64, 96), resample=resample))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2e-6  # float32 rounding of values up to 2.7
