"""Data specifications, good and wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segship.common.errors import InputError
from segship.data.contract import Contract
from segship.data.scenes import SCENE_CLASSES
from segship.data.spec import FORMATS, open_dataset

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
