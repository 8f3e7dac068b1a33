"""Folders of images and masks: every mask kind, every layout, every refusal."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segship.common.errors import InputError
from segship.data.contract import Contract
from segship.data.masks import read_mask
from segship.data.palette import default_palette, palette_png
from segship.data.spec import open_dataset

LABELS = np.array([[0, 1, 2, 1], [2, 2, 0, 255]], np.uint8)
THREE = Contract(classes=("a", "b", "c"), palette=((9, 0, 0), (0, 9, 0), (0, 0, 9)))
KEY: dict[str, Any] = {
    "classes": ["a", "b", "c"],
    "palette": [[255, 0, 0], [0, 255, 0], [10, 20, 30]],
}


def paint(labels: np.ndarray, colours: list[list[int]]) -> np.ndarray:
    painted: np.ndarray = np.array(colours, np.uint8)[labels]
    return painted


def write_key(root: Path, name: str = "palette.json", **values: object) -> None:
    (root / name).write_text(json.dumps({**KEY, **values}))


def one_line(caught: pytest.ExceptionInfo[InputError]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_index_masks_take_the_classes_of_the_contract(write_pair: Callable[..., Path]) -> None:
    root = write_pair("a", LABELS)
    dataset = open_dataset(f"folder:{root}", contract=THREE)
    sample = dataset.sample(0)
    assert np.array_equal(sample.labels, LABELS)
    assert sample.labels.dtype == np.uint8
    assert (sample.name, sample.image_path) == ("a", root / "images" / "a.png")
    assert (dataset.classes, dataset.palette) == (THREE.classes, THREE.palette)
    assert dataset.ignore_index == 255
    assert dataset.notes == ()
    assert dataset.image_bytes(0) == (root / "images" / "a.png").read_bytes()


def test_without_classes_the_range_is_not_checked_and_a_note_says_so(
    write_pair: Callable[..., Path],
) -> None:
    dataset = open_dataset(f"folder:{write_pair('a', LABELS)}")
    assert np.array_equal(dataset.sample(0).labels, LABELS)
    assert dataset.classes == ()
    assert "no label range" in dataset.notes[0]


def test_sixteen_bit_masks_keep_labels_above_255(write_pair: Callable[..., Path]) -> None:
    labels = np.array([[0, 700], [256, 3]], np.uint16)
    contract = Contract(classes=tuple(str(i) for i in range(701)))
    sample = open_dataset(f"folder:{write_pair('a', labels)}", contract=contract).sample(0)
    assert sample.labels.dtype == np.int32
    assert np.array_equal(sample.labels, labels)


def test_palette_masks_give_their_index_plane(write_pair: Callable[..., Path]) -> None:
    # two indices share one colour: through RGB they could not be told apart
    mask = Image.fromarray(LABELS.copy())
    mask.putpalette([7, 7, 7, 7, 7, 7, 200, 0, 0] + [0] * (253 * 3))
    assert mask.mode == "P"
    sample = open_dataset(f"folder:{write_pair('a', mask)}", contract=THREE).sample(0)
    assert np.array_equal(sample.labels, LABELS)


def test_palette_masks_keep_indices_under_transparency(tmp_path: Path) -> None:
    mask = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8))
    mask.putpalette([c for colour in default_palette(4) for c in colour])
    mask.save(tmp_path / "m.png", transparency=1)
    assert read_mask(tmp_path / "m.png").tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(("classes", "bits"), [(2, 1), (4, 2), (16, 4), (256, 8)])
def test_palette_masks_of_every_depth(tmp_path: Path, classes: int, bits: int) -> None:
    labels = np.arange(classes, dtype=np.uint8).reshape(2, -1)
    data = palette_png(labels, default_palette(classes))
    assert data[24] == bits
    (tmp_path / "m.png").write_bytes(data)
    assert np.array_equal(read_mask(tmp_path / "m.png"), labels)


def grey_png(labels: np.ndarray, bits: int) -> bytes:
    """Encode a grey PNG of 1, 2 or 4 bits by hand; Pillow cannot write them all."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    places = np.unpackbits(labels[..., None], axis=-1)[..., -bits:]
    rows = np.packbits(places.reshape(len(labels), -1), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", labels.shape[1], labels.shape[0], bits, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_masks_of_few_bits_are_not_stretched(tmp_path: Path, bits: int) -> None:
    labels = np.random.default_rng(bits).integers(0, 2**bits, (5, 7)).astype(np.uint8)
    (tmp_path / "m.png").write_bytes(grey_png(labels, bits))
    assert np.array_equal(read_mask(tmp_path / "m.png"), labels)


def test_binary_masks_become_background_and_foreground(write_pair: Callable[..., Path]) -> None:
    write_pair("a", np.array([[0, 0], [0, 0]], np.uint8))
    root = write_pair("b", np.array([[0, 255], [255, 0]], np.uint8))
    dataset = open_dataset(f"folder:{root}")
    assert dataset.classes == ("background", "foreground")
    assert dataset.sample(1).labels.tolist() == [[0, 1], [1, 0]]
    assert "all 2 masks hold only 0 and 255" in dataset.notes[0]


def test_a_one_class_model_names_the_foreground(write_pair: Callable[..., Path]) -> None:
    root = write_pair("a", np.array([[0, 255]], np.uint8))
    contract = Contract(classes=("polyp",), threshold=0.5)
    dataset = open_dataset(f"folder:{root}", contract=contract)
    assert dataset.classes == ("background", "polyp")
    assert len(dataset.palette) == 2
    assert dataset.sample(0).labels.tolist() == [[0, 1]]


def test_zero_one_masks_fit_a_one_class_model(write_pair: Callable[..., Path]) -> None:
    root = write_pair("a", np.array([[0, 1, 255]], np.uint8))
    contract = Contract(classes=("polyp",), threshold=0.5)
    dataset = open_dataset(f"folder:{root}", contract=contract)
    assert dataset.sample(0).labels.tolist() == [[0, 1, 255]]
    assert dataset.ignore_index == 255


def test_one_other_value_makes_255_the_ignored_label(write_pair: Callable[..., Path]) -> None:
    write_pair("a", np.array([[0, 255]], np.uint8))
    root = write_pair("b", np.array([[0, 1]], np.uint8))
    dataset = open_dataset(f"folder:{root}", contract=Contract(classes=("x", "y")))
    assert dataset.sample(0).labels.tolist() == [[0, 255]]
    assert dataset.notes == ()


@pytest.mark.parametrize("stated", ["three classes", "ignore_index"])
def test_what_255_means_can_be_stated(write_pair: Callable[..., Path], stated: str) -> None:
    root = write_pair("a", np.array([[0, 255]], np.uint8))
    if stated == "ignore_index":
        write_key(root, classes=["x", "y"], palette=[], ignore_index=255)
        dataset = open_dataset(f"folder:{root}")
    else:
        dataset = open_dataset(f"folder:{root}", contract=THREE)
    assert dataset.sample(0).labels.tolist() == [[0, 255]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("file", ["palette.json", "classes.json"])
def test_colour_masks_follow_the_palette_file(
    write_pair: Callable[..., Path], mode: str, file: str
) -> None:
    labels = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    mask = Image.fromarray(paint(labels, KEY["palette"])).convert(mode)
    root = write_pair("a", mask)
    write_key(root, file)
    dataset = open_dataset(f"folder:{root}")
    assert np.array_equal(dataset.sample(0).labels, labels)
    assert dataset.classes == ("a", "b", "c")
    assert dataset.palette[2] == (10, 20, 30)


def test_an_unlisted_colour_is_refused_with_file_and_colour(
    write_pair: Callable[..., Path],
) -> None:
    mask = paint(np.array([[0, 1]]), KEY["palette"])
    mask[0, 1] = (1, 2, 3)
    root = write_pair("street", mask)
    write_key(root)
    with pytest.raises(InputError) as caught:
        open_dataset(f"folder:{root}").sample(0)
    assert "street.png has [1, 2, 3]" in one_line(caught)


def test_an_unlisted_colour_can_be_ignored(write_pair: Callable[..., Path]) -> None:
    mask = paint(np.array([[0, 1]]), KEY["palette"])
    mask[0, 1] = (1, 2, 3)
    root = write_pair("a", mask)
    write_key(root, unlisted="ignore", ignore_index=77)
    dataset = open_dataset(f"folder:{root}")
    assert dataset.sample(0).labels.tolist() == [[0, 77]]
    assert dataset.ignore_index == 77


def test_an_unlisted_colour_can_be_a_class(write_pair: Callable[..., Path]) -> None:
    mask = paint(np.array([[0, 1, 2]]), KEY["palette"])
    mask[0, 1] = (1, 2, 3)
    root = write_pair("a", mask)
    write_key(root, unlisted=1)
    assert open_dataset(f"folder:{root}").sample(0).labels.tolist() == [[0, 1, 2]]
    write_key(root, unlisted=0)  # TAO's rule
    assert open_dataset(f"folder:{root}").sample(0).labels.tolist() == [[0, 0, 2]]


def test_colour_masks_without_a_palette_file_are_refused(write_pair: Callable[..., Path]) -> None:
    root = write_pair("street", paint(np.array([[0, 1]]), KEY["palette"]))
    with pytest.raises(InputError) as caught:
        open_dataset(f"folder:{root}", contract=THREE).sample(0)
    assert "street.png is in colour" in one_line(caught)


@settings(max_examples=25, deadline=None)  # no deadline: the machine is shared
@given(st.integers(1, 40), st.integers(0, 1000))
def test_colour_masks_of_any_palette_come_back(classes: int, seed: int) -> None:
    from segship.data.masks import ColourKey

    palette = default_palette(classes)
    labels = np.random.default_rng(seed).integers(0, classes, (4, 5)).astype(np.uint8)
    coloured = np.array(palette, np.uint8)[labels]
    assert np.array_equal(ColourKey(palette).labels(coloured, Path("m.png")), labels)


@pytest.mark.parametrize(
    ("images", "masks", "split"),
    [
        ("images", "masks", ""),
        ("images", "labels", ""),
        ("images", "annotations", ""),
        ("val/images", "val/masks", "@val"),
        ("val/images", "val/labels", "@val"),
        ("images/val", "masks/val", "@val"),
        ("images/val", "annotations/val", "@val"),
        ("images/aachen", "masks/aachen", ""),
    ],
)
@pytest.mark.parametrize("ending", ["", "_mask", "_L"])
def test_every_layout_is_found(
    write_pair: Callable[..., Path], images: str, masks: str, split: str, ending: str
) -> None:
    write_pair("b", LABELS, images=images, masks=masks, ending=ending)
    root = write_pair("a", LABELS, images=images, masks=masks, ending=ending)
    dataset = open_dataset(f"folder:{root}{split}", contract=THREE)
    assert [dataset.sample(i).name.rpartition("/")[2] for i in range(len(dataset))] == ["a", "b"]
    assert dataset.name == f"folder:{root}{split}"


def test_files_of_other_kinds_and_hidden_files_do_not_matter(
    write_pair: Callable[..., Path],
) -> None:
    root = write_pair("a", LABELS)
    for extra in ("images/Thumbs.db", "masks/.a.png", "masks/readme.txt", ".cache/x.png"):
        (root / extra).parent.mkdir(exist_ok=True)
        (root / extra).write_bytes(b"no image")
    assert len(open_dataset(f"folder:{root}", contract=THREE)) == 1


@pytest.mark.parametrize("split", ["", "@test"])
@pytest.mark.parametrize("layout", ["{}/images {}/masks", "images/{} masks/{}"])
def test_a_missing_split_lists_those_that_exist(
    write_pair: Callable[..., Path], split: str, layout: str
) -> None:
    for name in ("train", "val"):
        images, masks = layout.format(name, name).split()
        root = write_pair("a", LABELS, images=images, masks=masks)
    with pytest.raises(InputError) as caught:
        open_dataset(f"folder:{root}{split}")
    assert "train, val" in one_line(caught)


def test_a_split_of_a_flat_folder_is_refused(write_pair: Callable[..., Path]) -> None:
    root = write_pair("a", LABELS)
    with pytest.raises(InputError, match="for split 'val'"):
        open_dataset(f"folder:{root}@val")


def test_a_folder_of_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="images/ and masks/"):
        open_dataset(f"folder:{tmp_path}")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="has none"):
        open_dataset(f"folder:{tmp_path}")


def test_jpeg_masks_are_refused_by_name(write_pair: Callable[..., Path]) -> None:
    root = write_pair("street", LABELS, kind=".jpg")
    with pytest.raises(InputError) as caught:
        open_dataset(f"folder:{root}")
    assert "street.jpg is compressed with loss" in one_line(caught)


def test_jpeg_masks_named_png_are_refused(write_pair: Callable[..., Path]) -> None:
    root = write_pair("street", LABELS)
    Image.fromarray(LABELS).save(root / "masks" / "street.png", "JPEG")
    with pytest.raises(InputError, match=r"street\.png is compressed with loss"):
        open_dataset(f"folder:{root}", contract=THREE).sample(0)


@pytest.mark.parametrize(("kept", "lost"), [("images", "masks"), ("masks", "images")])
def test_unmatched_files_are_refused_by_name(
    write_pair: Callable[..., Path], kept: str, lost: str
) -> None:
    write_pair("a", LABELS)
    root = write_pair("lonely", LABELS)
    (root / lost / "lonely.png").unlink()
    with pytest.raises(InputError) as caught:
        open_dataset(f"folder:{root}")
    assert str(root / kept / "lonely.png") in one_line(caught)


def test_two_masks_for_one_image_are_refused(write_pair: Callable[..., Path]) -> None:
    write_pair("a", LABELS)
    root = write_pair("a", LABELS, ending="_mask")
    with pytest.raises(InputError) as caught:
        open_dataset(f"folder:{root}")
    assert "a.png" in one_line(caught)
    assert "a_mask.png" in str(caught.value)


def test_two_images_of_one_name_are_refused(write_pair: Callable[..., Path]) -> None:
    root = write_pair("a", LABELS)
    Image.fromarray(LABELS).save(root / "images" / "a.JPG", "JPEG")
    with pytest.raises(InputError, match=r"a\.JPG"):
        open_dataset(f"folder:{root}")


def test_a_mask_of_another_size_is_refused_by_name(write_pair: Callable[..., Path]) -> None:
    root = write_pair("street", LABELS)
    Image.fromarray(LABELS.T).save(root / "masks" / "street.png")
    with pytest.raises(InputError) as caught:
        open_dataset(f"folder:{root}", contract=THREE).sample(0)
    assert "street.png is (4, 2)" in one_line(caught)


@pytest.mark.parametrize("kind", ["contract", "classes.json", "16 bit"])
def test_a_label_out_of_range_is_refused_by_name(
    write_pair: Callable[..., Path], kind: str
) -> None:
    wrong = np.array([[0, 1], [2, 3]], np.uint16 if kind == "16 bit" else np.uint8)
    root = write_pair("street", wrong)
    if kind == "classes.json":
        write_key(root, "classes.json", palette=[])
    dataset = open_dataset(f"folder:{root}", contract=THREE)
    with pytest.raises(InputError) as caught:
        dataset.sample(0)
    assert "street.png has label 3 at row 1, column 1" in one_line(caught)


@pytest.mark.parametrize("broken", ["images", "masks"])
def test_a_broken_file_is_refused_by_name(write_pair: Callable[..., Path], broken: str) -> None:
    root = write_pair("street", np.zeros((64, 64), np.uint8))
    file = root / broken / "street.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(InputError) as caught:
        open_dataset(f"folder:{root}", contract=THREE).sample(0)
    assert str(file) in one_line(caught)


def test_reduced_labels_follow_the_contract(write_pair: Callable[..., Path]) -> None:
    root = write_pair("a", np.array([[0, 1, 2], [3, 255, 1]], np.uint8))
    contract = Contract(classes=("a", "b", "c"), reduce_labels=True)
    dataset = open_dataset(f"folder:{root}", contract=contract)
    assert dataset.sample(0).labels.tolist() == [[255, 0, 1], [2, 255, 0]]
    assert "reduced" in dataset.notes[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "no JSON"),
        ("[]", "neither"),
        ('{"classes": "ab"}', "no list of names"),
        ('{"classes": ["a"], "palette": [[1, 2, 3], [3, 2, 1]]}', "1 classes and 2 colours"),
        ('{"palette": [[1, 2, 256]]}', "no colour"),
        ('{"palette": 3}', "no list of colours"),
        ('{"classes": ["a"], "ignore_index": -1}', "no label"),
        ('{"classes": ["a"], "unlisted": "drop"}', "neither"),
        ('{"classes": ["a"], "unlisted": 1}', "nor a label"),
    ],
)
def test_a_wrong_palette_file_is_refused(
    write_pair: Callable[..., Path], text: str, reason: str
) -> None:
    root = write_pair("a", LABELS)
    (root / "palette.json").write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        open_dataset(f"folder:{root}")
    assert "palette.json" in one_line(caught)


def test_a_colour_listed_twice_is_refused_where_colours_matter(
    write_pair: Callable[..., Path],
) -> None:
    colours = [[1, 1, 1], [1, 1, 1], [2, 2, 2]]
    root = write_pair("a", paint(np.array([[0, 1]]), colours))
    write_key(root, palette=colours)
    with pytest.raises(InputError, match=r"\[1, 1, 1\] twice"):
        open_dataset(f"folder:{root}").sample(0)


def test_digest_depends_on_names_and_bytes_only(write_pair: Callable[..., Path]) -> None:
    write_pair("b", LABELS)
    root = write_pair("a", LABELS)

    def digest() -> str:
        return open_dataset(f"folder:{root}", contract=THREE).digest()

    first = digest()
    assert first == digest()
    assert len(first) == 64
    mask = root / "masks" / "a.png"
    kept = mask.read_bytes()
    Image.fromarray(1 - LABELS.clip(0, 1)).save(mask)
    changed = digest()
    mask.write_bytes(kept)
    assert digest() == first
    for folder in ("images", "masks"):
        (root / folder / "a.png").rename(root / folder / "c.png")
    renamed = digest()
    assert len({first, changed, renamed}) == 3


def test_mask_bytes_are_decoded_from_the_file_once_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((2, 2), np.uint8)).convert("LA").save(buffer, "PNG")
    (tmp_path / "m.png").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="mode LA"):
        read_mask(tmp_path / "m.png")
