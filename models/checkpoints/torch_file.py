"""The two containers of `torch.save`: a zip archive, and the older stream of pickles."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from ...common.errors import InputError

_ZIP_START = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_COUNT_BYTES = 8


@dataclass(frozen=True)
class Storage:
    """A run of `count` numbers in the file, named `key`."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.count * self.dtype.itemsize

    def __setstate__(self, _: object) -> None:
        """Ignore pickled state: a storage is complete when it is made."""


Load = Callable[[IO[bytes]], tuple[Any, dict[str, Storage]]]  # object, storages it refers to
ReadStorage = Callable[[Storage], bytearray]


@contextlib.contextmanager
def open_torch_file(path: Path, load: Load) -> Iterator[tuple[Any, ReadStorage]]:
    """Yield the file's pickled object, loaded with `load`, and a reader of its storages.

    Raises:
        InputError: an empty file, or a container torch no longer writes.
    """
    with open(path, "rb") as file:
        start = file.read(len(_ZIP_START))
        file.seek(0)
        if not start:
            raise InputError(f"Expected weights, but {path} is empty: download it again.")
        if start == _ZIP_START:
            with zipfile.ZipFile(file) as archive:
                yield _open_zip(archive, load)
        else:
            yield _open_legacy(file, load)


def _open_zip(archive: zipfile.ZipFile, load: Load) -> tuple[Any, ReadStorage]:
    names = archive.namelist()
    pickled = next((name for name in names if name.endswith("data.pkl")), None)
    if pickled is None:
        raise ValueError("a zip archive without data.pkl")
    folder = pickled.removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in names and archive.read(order) != b"little":
        raise ValueError("written on a big-endian machine")

    def read_storage(storage: Storage) -> bytearray:
        return bytearray(archive.read(f"{folder}data/{storage.key}"))

    return load(io.BytesIO(archive.read(pickled)))[0], read_storage


def _open_legacy(file: IO[bytes], load: Load) -> tuple[Any, ReadStorage]:
    """Read magic number, protocol, system, object and storage keys; the storages follow."""
    if load(file)[0] != _LEGACY_MAGIC or load(file)[0] != _LEGACY_PROTOCOL:
        raise ValueError("not written by torch.save")
    if load(file)[0].get("little_endian") is not True:
        raise ValueError("written on a big-endian machine")
    root, storages = load(file)
    starts: dict[str, int] = {}
    keys = [str(key) for key in load(file)[0]]
    for key in keys:
        (count,) = struct.unpack("<q", file.read(_COUNT_BYTES))
        if count != storages[key].count:
            raise ValueError(f"{count} of {storages[key].count} numbers of a tensor")
        starts[key] = file.tell()
        file.seek(storages[key].nbytes, io.SEEK_CUR)

    def read_storage(storage: Storage) -> bytearray:
        file.seek(starts[storage.key])
        return bytearray(file.read(storage.nbytes))

    return root, read_storage
