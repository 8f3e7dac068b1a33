"""Open a data set by its specification, FORMAT:PATH[@SPLIT]."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from ..common.errors import InputError
from .ade20k import Ade20k
from .arrays import Arrays
from .bdd100k import SCHEMES, BddDrivable
from .camvid import CamVid
from .camvid_colour import CamVidColour
from .cityscapes import Cityscapes, CityscapesCategories, CityscapesCourse
from .contract import Contract
from .dataset import Dataset
from .depth import DepthDataset
from .described import DescribedDataset
from .folder import FolderDataset
from .label_map import MappedDataset
from .scenes import DEFAULT_SPLIT, Scenes
from .segformer3d import Segformer3d

_SPLIT_PATTERN = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Place:
    """The parts of a specification; `spec` is the whole, `contract` the model's."""

    spec: str
    path: str
    split: str | None
    contract: Contract | None

    @property
    def folder(self) -> Path:
        """The path as an existing folder."""
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise InputError(
                f"Expected the folder of a data set, but {folder} {what}: check the path."
            )
        return folder

    @property
    def file(self) -> Path:
        """The path as an existing file."""
        file = Path(self.path).expanduser()
        if not file.is_file():
            what = "is a folder" if file.exists() else "does not exist"
            raise InputError(f"Expected a file, but {file} {what}: check the path.")
        return file

    @property
    def count(self) -> int:
        """The path as the number of scenes."""
        if not self.path.isascii() or not self.path.isdigit() or int(self.path) < 1:
            raise InputError(
                f"Expected scenes:N with a number N of 1 or more, but got {self.spec!r}: try "
                "scenes:64."
            )
        return int(self.path)


Opener = Callable[[Place], Dataset]


def _bdd(scheme: str | None) -> Opener:
    return lambda at: BddDrivable(at.folder, at.split, name=at.spec, scheme=scheme)


def _categories(at: Place) -> Dataset:
    path = at.file if at.path.lower().endswith(".csv") else at.folder
    return CityscapesCategories(path, at.split, name=at.spec)


FORMATS: dict[str, Opener] = {
    "ade20k": lambda at: Ade20k(at.folder, at.split, name=at.spec),
    "arrays": lambda at: Arrays(at.folder, at.split, name=at.spec, contract=at.contract),
    "bdd100k": _bdd(None),
    **{f"bdd100k-{scheme}": _bdd(scheme) for scheme in SCHEMES},
    "camvid": lambda at: CamVid(at.folder, at.split, name=at.spec),
    "camvid-colour": lambda at: CamVidColour(
        at.folder, at.split, name=at.spec, contract=at.contract
    ),
    "cityscapes": lambda at: Cityscapes(at.folder, at.split, name=at.spec),
    "cityscapes-8": _categories,
    "cityscapes-course": lambda at: CityscapesCourse(at.folder, at.split, name=at.spec),
    "depth": lambda at: DepthDataset(at.folder, at.split, name=at.spec, contract=at.contract),
    "folder": lambda at: FolderDataset(at.folder, at.split, name=at.spec, contract=at.contract),
    "scenes": lambda at: Scenes(at.count, at.split or DEFAULT_SPLIT),
    "segformer3d": lambda at: Segformer3d(at.folder, at.split, name=at.spec, contract=at.contract),
    "yaml": lambda at: DescribedDataset(at.file, at.split, name=at.spec, contract=at.contract),
}


def open_dataset(spec: str, *, contract: Contract | None = None) -> Dataset:
    """Open "camvid:../camvid@val", "folder:my_set", "scenes:64@train", …

    `contract` is the model's: it gives a folder the classes its files do not state, and a data
    set whose own classes differ from the model's is refused. With `contract.label_map` the data
    are of another label space: their labels are mapped, classes and colours are the model's.

    Raises:
        InputError: unknown format, missing path or split, or classes that do not fit the model.

    >>> len(open_dataset("scenes:3"))
    3
    """
    kind, colon, rest = spec.partition(":")
    if not colon or not rest:
        raise InputError(f"Expected {_expected()}, but got {spec!r}.")
    if kind not in FORMATS:
        close = get_close_matches(kind, FORMATS, n=1)
        hint = f": did you mean {close[0]}?" if close else "."
        raise InputError(f"Expected {_expected()}, but got the format {kind!r}{hint}")
    path, split = _divide(rest)
    if contract is not None and contract.label_map:
        # what the labels in the data mean is then not what the model's classes say
        raw = replace(contract, classes=(), palette=(), threshold=None)
        return MappedDataset(FORMATS[kind](Place(spec, path, split, raw)), contract)
    dataset = FORMATS[kind](Place(spec, path, split, contract))
    if contract is not None:
        _refuse_other_classes(dataset, contract)
    return dataset


def _expected() -> str:
    return (
        f"data as FORMAT:PATH[@SPLIT], such as camvid:PATH@SPLIT or scenes:N, FORMAT one of "
        f"{', '.join(FORMATS)}"
    )


def _divide(rest: str) -> tuple[str, str | None]:
    """Divide PATH@SPLIT; an '@' inside the path is part of it."""
    path, at, split = rest.rpartition("@")
    if not at or not _SPLIT_PATTERN.fullmatch(split) or Path(rest).expanduser().exists():
        return rest, None
    return path, split


def _refuse_other_classes(dataset: Dataset, contract: Contract) -> None:
    """Raise where labels would mean other classes than the model's outputs."""
    ours, theirs = dataset.classes, contract.classes
    if not ours or not theirs:
        return
    if len(ours) != contract.num_classes:
        raise InputError(
            f"Expected data with the model's {contract.num_classes} classes, but {dataset.name} "
            f"has {len(ours)}: evaluate on the data the model was trained for, or state a "
            "label_map."
        )
    if ours != theirs and set(ours) == set(theirs):
        raise InputError(
            f"Expected the model's order of classes ({', '.join(theirs)}), but {dataset.name} "
            f"has {', '.join(ours)}: correct the order in its classes.json."
        )
