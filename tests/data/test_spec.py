"""Data specifications, good and wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segship.common.errors import InputError
from segship.data.contract import Contract
from segship.data.palette import colorize
from segship.data.scenes import SCENE_CLASSES, Scenes
from segship.data.spec import FORMATS, open_dataset
from segship.tests.data.files import save

LABELS = np.array([[0, 1], [1, 2]], np.uint8)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("", "FORMAT|camvid:PATH@SPLIT"),
        ("val", "camvid:PATH@SPLIT"),
        ("camvid:", "camvid:PATH@SPLIT"),
        (":x", "format ''"),
        ("voc:here@val", "format 'voc'"),
        ("citiscapes:here@val", "did you mean cityscapes"),
        ("yaml:no/such.yaml", "such.yaml does not exist"),
        ("cityscapes-8:no/such.csv", "such.csv does not exist"),
        ("camvid:no/such/place@val", "no/such/place does not exist"),
        ("folder:no/such/place", "no/such/place does not exist"),
        ("scenes:many", "scenes:N"),
        ("scenes:0", "scenes:N"),
        ("scenes:-3", "scenes:N"),
        ("scenes:2.5@val", "scenes:N"),
        ("scenes:²", "scenes:N"),
        ("scenes:@val", "scenes:N"),
    ],
)
def test_a_wrong_specification_is_one_clear_line(spec: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        open_dataset(spec)
    assert "\n" not in str(caught.value)


def test_a_file_is_no_data_set(tmp_path: Path) -> None:
    file = tmp_path / "set.zip"
    file.write_bytes(b"")
    with pytest.raises(InputError, match="is a file"):
        open_dataset(f"folder:{file}")


def test_an_at_sign_may_be_part_of_the_path(
    write_pair: Callable[..., Path], tmp_path: Path
) -> None:
    root = write_pair("a", LABELS).rename(tmp_path / "me@home")
    assert len(open_dataset(f"folder:{root}")) == 1
    (root / "val").mkdir()
    for name in ("images", "masks"):
        (root / name).rename(root / "val" / name)
    assert len(open_dataset(f"folder:{root}@val")) == 1


def test_classes_in_another_order_than_the_models_are_refused() -> None:
    swapped = Contract(classes=(SCENE_CLASSES[1], SCENE_CLASSES[0], *SCENE_CLASSES[2:]))
    with pytest.raises(InputError, match="order of classes"):
        open_dataset("scenes:2", contract=swapped)


def test_classes_of_other_names_are_accepted() -> None:
    unnamed = Contract(classes=tuple(f"LABEL_{i}" for i in range(len(SCENE_CLASSES))))
    assert open_dataset("scenes:2", contract=unnamed).classes == SCENE_CLASSES


def test_a_contract_without_classes_accepts_any_data() -> None:
    assert len(open_dataset("scenes:2", contract=Contract())) == 2


def test_the_command_page_has_every_format(repository: Path) -> None:
    page = (repository / "docs" / "commands.md").read_text(encoding="utf-8")
    assert [name for name in FORMATS if f"`{name}:" not in page] == []


COLOURS = [[20 * label, 255 - label, 7] for label in range(len(SCENE_CLASSES))]


def test_the_same_scenes_are_the_same_samples_in_every_format(tmp_path: Path) -> None:
    scenes = Scenes(3, size_px=(32, 48))
    samples = [scenes.sample(number) for number in range(len(scenes))]
    shifted = np.stack([sample.labels for sample in samples]).astype(np.int16)
    shifted[shifted == scenes.ignore_index] = -1
    save(tmp_path / "arrays/image_32_48.npy", np.stack([sample.image for sample in samples]))
    save(tmp_path / "arrays/label_32_48.npy", shifted)
    for number, sample in enumerate(samples):
        files = {"images": sample.image, "gt": colorize(sample.labels, COLOURS)}
        ade = np.where(sample.labels == 255, 0, sample.labels + np.uint8(1))
        for folder, array in (files | {"masks": sample.labels, "ade": ade}).items():
            save(tmp_path / f"set/{folder}/{number}.png", array)
        save(tmp_path / f"npy/images/val/{number}.npy", sample.image / np.float32(255))
        save(tmp_path / f"npy/seg_labels/val/{number}.npy", shifted[number])
    common = f"images: set/images/*.png\nclasses: [{', '.join(SCENE_CLASSES)}]\n"
    colour = f"labels: set/gt/*.png\nencoding: colour\nunlisted: ignore\npalette: {COLOURS}\n"
    (tmp_path / "colour.yaml").write_text(common + colour)
    (tmp_path / "ade.yaml").write_text(common + "labels: set/ade/*.png\nreduce_labels: true\n")
    specs = ("arrays:arrays", "folder:set", "segformer3d:npy@val", "yaml:colour.yaml")
    model = Contract(classes=SCENE_CLASSES, palette=scenes.palette)
    for spec in (*specs, "yaml:ade.yaml"):
        dataset = open_dataset(spec.replace(":", f":{tmp_path}/"), contract=model)
        assert (len(dataset), dataset.classes, dataset.ignore_index) == (3, SCENE_CLASSES, 255)
        for number, sample in enumerate(samples):
            found = dataset.sample(number)
            assert np.array_equal(found.image, sample.image), spec
            assert np.array_equal(found.labels, sample.labels), spec
            assert found.labels.dtype == np.uint8, spec
