"""Files out of files: what is written, what is refused and that nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segship.common.errors import InputError
from segship.data.preprocess import decode, preprocess
from segship.runtimes.labels import labels_from_output
from segship.runtimes.open import open_session
from segship.runtimes.predict import predict


def _photo(path: Path, height: int = 50, width: int = 70, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a JPEG, a PNG, a text file and a folder with one more image."""
    folder = tmp_path / "photos"
    (folder / "inside").mkdir(parents=True)
    _photo(folder / "a.jpg", seed=1)
    _photo(folder / "b.PNG", 40, 90, seed=2)
    _photo(folder / "inside" / "c.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_each_image_gets_labels_and_overlay(
    dynamic_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "out"
    done = predict(dynamic_onnx, photos, out, runtime="onnxruntime", threads=1)
    assert sorted(path.name for path in out.iterdir()) == [
        "a_labels.png",
        "a_overlay.jpg",
        "b_labels.png",
        "b_overlay.png",
    ]
    with open_session(dynamic_onnx, runtime="onnxruntime", threads=1) as session:
        for item in done:
            picture = decode(item.image.read_bytes())
            size = picture.shape[:2]
            output = session.run(preprocess(picture, session.contract))["segmentation"]
            expected = labels_from_output(output, session.contract, size)[0]
            assert item.labels and item.overlay and item.files == (item.overlay, item.labels)
            with Image.open(item.labels) as stored, Image.open(item.overlay) as mixed:
                assert stored.mode == "P" and mixed.size == stored.size == size[::-1]
                np.testing.assert_array_equal(np.asarray(stored), expected)
                colours = np.asarray(stored.convert("RGB"))
            palette = np.array(session.contract.palette)
            np.testing.assert_array_equal(colours, palette[expected])


def test_one_file_and_every_runtime(
    tiny_checkpoint: Path, dynamic_onnx: Path, tmp_path: Path
) -> None:
    image = _photo(tmp_path / "one.png")
    labels = []
    for index, (source, runtime) in enumerate(
        ((tiny_checkpoint, "torch"), (dynamic_onnx, "onnxruntime"), (dynamic_onnx, "openvino"))
    ):
        (item,) = predict(source, image, tmp_path / str(index), runtime=runtime, threads=1)
        assert (
            item.image == image
            and min(item.decode_ms, item.preprocess_ms, item.inference_ms, item.postprocess_ms)
            >= 0
            < item.write_ms
        )
        assert item.labels
        labels.append(np.asarray(Image.open(item.labels)))
    assert np.mean(labels[0] == labels[1]) > 0.999 and np.mean(labels[0] == labels[2]) > 0.999


def test_alpha_decides_how_much_of_the_image_is_left(static_onnx: Path, tmp_path: Path) -> None:
    image = _photo(tmp_path / "one.png")
    (item,) = predict(static_onnx, image, tmp_path / "clear", threads=1, alpha=0.0)
    assert item.overlay
    np.testing.assert_array_equal(np.asarray(Image.open(item.overlay)), Image.open(image))
    (item,) = predict(static_onnx, image, tmp_path / "solid", threads=1, alpha=1.0)
    assert item.overlay and item.labels
    colours = np.asarray(Image.open(item.labels).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(Image.open(item.overlay)), colours)
    with pytest.raises(InputError, match="between 0 and 1"):
        predict(static_onnx, image, tmp_path / "never", alpha=1.5)
    assert not (tmp_path / "never").exists()


def test_an_output_never_replaces_an_input(static_onnx: Path, tmp_path: Path) -> None:
    _photo(tmp_path / "a.png")
    other = _photo(tmp_path / "a_overlay.png", seed=9)
    before = other.read_bytes()
    with pytest.raises(InputError, match=r"a_overlay\.png is an input"):
        predict(static_onnx, tmp_path, tmp_path / "." / "x" / "..", threads=1)
    assert other.read_bytes() == before and not (tmp_path / "a_labels.png").exists()


def test_two_images_of_one_stem_are_refused(static_onnx: Path, tmp_path: Path) -> None:
    _photo(tmp_path / "a.png")
    _photo(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="a.jpg and a.png would both become a_labels.png"):
        predict(static_onnx, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_input_is_one_line_and_writes_nothing(static_onnx: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(_photo(tmp_path / "whole.jpg").read_bytes()[:300])
    for inputs in (tmp_path / "missing.jpg", empty, broken):
        with pytest.raises(InputError, match=inputs.name) as caught:
            predict(static_onnx, inputs, out, threads=1)
        assert "\n" not in str(caught.value) and not out.exists()
    with pytest.raises(InputError, match="is a file"):
        predict(static_onnx, tmp_path / "whole.jpg", broken)
    with pytest.raises(InputError, match="Cannot make the folder"):
        predict(static_onnx, tmp_path / "whole.jpg", broken / "inside", threads=1)


def test_a_checkpoint_with_depth_gives_depth_too(
    flavour_file: Callable[..., Path], tmp_path: Path
) -> None:
    """In torch, where the model itself returns both heads at full size."""
    source = flavour_file("segformer3d")
    (item,) = predict(source, _photo(tmp_path / "a.jpg"), tmp_path / "out", threads=1)
    assert item.depth and item.depth_values and item.files[2:] == (item.depth, item.depth_values)
    values = np.load(item.depth_values, allow_pickle=False)
    assert values.shape == (50, 70) and values.dtype == np.float32
    assert 0 <= values.min() < values.max()
    taken = _photo(tmp_path / "photos_depth.png")
    taken.rename(tmp_path / "a_depth.png")
    with pytest.raises(InputError, match=r"a_depth\.png is an input"):
        predict(source, tmp_path, tmp_path, threads=1)
