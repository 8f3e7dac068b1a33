"""Open a data set by its specification, FORMAT:PATH[@SPLIT]."""

from __future__ import annotations

import re
from pathlib import Path

from ..common.errors import InputError
from .camvid import CamVid
from .contract import Contract
from .dataset import Dataset
from .folder import FolderDataset
from .scenes import DEFAULT_SPLIT, Scenes

_FORMATS = "camvid:PATH@SPLIT, folder:PATH[@SPLIT] or scenes:N[@SPLIT]"
_SPLIT_PATTERN = re.compile(r"[\w.-]+")


def open_dataset(spec: str, *, contract: Contract | None = None) -> Dataset:
    """Open "camvid:../camvid@val", "folder:my_set", "scenes:64@train", …

    `contract` is the model's: it gives a folder the classes its files do not state, and a data
    set whose own classes differ from the model's is refused.

    Raises:
        InputError: unknown format, missing path or split, or classes that do not fit the model.

    >>> len(open_dataset("scenes:3"))
    3
    """
    kind, colon, rest = spec.partition(":")
    if not colon or not rest:
        raise InputError(f"Expected a data set as {_FORMATS}, but got {spec!r}.")
    path, split = _divide(rest)
    dataset: Dataset
    if kind == "scenes":
        dataset = Scenes(_count(path, spec), split or DEFAULT_SPLIT)
    elif kind == "camvid":
        dataset = CamVid(_folder(path), split, name=spec)
    elif kind == "folder":
        dataset = FolderDataset(_folder(path), split, name=spec, contract=contract)
    else:
        raise InputError(f"Expected a data set as {_FORMATS}, but got the format {kind!r}.")
    if contract is not None:
        _refuse_other_classes(dataset, contract)
    return dataset


def _divide(rest: str) -> tuple[str, str | None]:
    """Divide PATH@SPLIT; an '@' inside the path is part of it."""
    path, at, split = rest.rpartition("@")
    if not at or not _SPLIT_PATTERN.fullmatch(split) or Path(rest).is_dir():
        return rest, None
    return path, split


def _folder(path: str) -> Path:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"Expected the folder of a data set, but {folder} {what}: check the path.")
    return folder


def _count(text: str, spec: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise InputError(
            f"Expected scenes:N with a number N of 1 or more, but got {spec!r}: try scenes:64."
        )
    return int(text)


def _refuse_other_classes(dataset: Dataset, contract: Contract) -> None:
    """Raise where labels would mean other classes than the model's outputs."""
    ours, theirs = dataset.classes, contract.classes
    if not ours or not theirs:
        return
    if len(ours) != contract.num_classes:
        raise InputError(
            f"Expected data with the model's {contract.num_classes} classes, but {dataset.name} "
            f"has {len(ours)}: evaluate on the data the model was trained for."
        )
    if ours != theirs and set(ours) == set(theirs):
        raise InputError(
            f"Expected the model's order of classes ({', '.join(theirs)}), but {dataset.name} "
            f"has {', '.join(ours)}: correct the order in its classes.json."
        )
