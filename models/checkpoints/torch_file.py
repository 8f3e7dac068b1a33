"""The two containers of `torch.save`: a zip archive, and the older stream of pickles."""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ...common.errors import InputError
from .pickle_stack import Buffer
from .pickle_values import Storage, TensorPlan
from .torch_zip import ZIP_START, Entry, check_entry, read_directory

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_COUNT_BYTES = 8
_SPARE_BYTES = 256 << 20  # tied weights are copied

# data, start, stop → value, where its pickle ends, the storages it refers to by key
Load = Callable[[Buffer, int, int], tuple[Any, int, dict[str, Storage]]]
Locate = Callable[[Storage], int]  # where a storage's bytes start, once they have been checked


@dataclass(frozen=True)
class TorchFile:
    """An open file: its pickled value, and where its storages lie. `notes` are for the user."""

    path: Path
    root: Any
    file: IO[bytes]
    size: int
    locate: Locate
    notes: tuple[str, ...] = ()

    def tensors(self, plans: dict[str, TensorPlan]) -> dict[str, Tensor]:
        """Read tensors, each with memory of its own; no other storage is touched.

        Raises:
            InputError: together they need much more memory than the file has.
            ValueError: a storage is cut off or damaged.
        """
        asked = sum(plan.nbytes for plan in plans.values())
        if asked > self.size + _SPARE_BYTES:
            raise InputError(
                f"Expected tensors of their own, but those of {self.path} share storages and "
                f"would take {asked >> 20} MiB from a file of {self.size >> 20} MiB: save "
                "model.state_dict() with every tensor cloned."
            )
        return {name: self._tensor(plan) for name, plan in plans.items()}

    def _tensor(self, plan: TensorPlan) -> Tensor:
        start, item = self.locate(plan.storage), plan.storage.dtype.itemsize
        if not plan.nbytes:
            return torch.empty(plan.shape, dtype=plan.storage.dtype)
        data = bytearray(plan.span * item)
        self.file.seek(start + plan.offset * item)
        if self.file.readinto(data) != len(data):  # type: ignore[attr-defined]  # a file has it
            raise ValueError("the file became shorter while it was read")
        view = torch.frombuffer(data, dtype=plan.storage.dtype).as_strided(plan.shape, plan.stride)
        return view if view.is_contiguous() else view.contiguous()


@contextlib.contextmanager
def open_torch_file(path: Path, load: Load) -> Iterator[TorchFile]:
    """Yield the file with its pickled value, loaded with `load`.

    Raises:
        InputError: an empty file.
        ValueError: a container torch does not write.
    """
    with open(path, "rb") as file:
        if not file.read(1):
            raise InputError(f"Expected weights, but {path} is empty: download it again.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            opener = _open_zip if data[: len(ZIP_START)] == ZIP_START else _open_legacy
            root, locate, notes = opener(path, data, load)
            yield TorchFile(path, root, file, len(data), locate, notes)


Opened = tuple[Any, Locate, tuple[str, ...]]


def _open_zip(path: Path, data: Buffer, load: Load) -> Opened:
    entries = read_directory(data)
    pickles = [name for name in entries if name.split("/")[-1] == "data.pkl"]
    if len(pickles) != 1:
        raise ValueError(f"a zip archive with {len(pickles)} entries data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    _refuse_script(path, folder, entries)
    unchecked = all(not entry.crc for entry in entries.values())  # torch can leave them out

    def whole(name: str) -> Entry:
        if name not in entries:
            raise ValueError(f"no zip entry {name[:80]!r}")
        check_entry(data, entries[name], name, checksum=not unchecked)
        return entries[name]

    if f"{folder}byteorder" in entries:
        order = whole(f"{folder}byteorder")
        if order.size != 6 or data[order.start : order.start + 6] != b"little":
            raise ValueError("written on a big-endian machine")
    checked: dict[str, Entry] = {}

    def locate(storage: Storage) -> int:
        if storage.key not in checked:
            checked[storage.key] = whole(f"{folder}data/{storage.key}")
        if checked[storage.key].size != storage.nbytes:
            held = checked[storage.key].size
            raise ValueError(f"{held} of {storage.nbytes} bytes of a tensor")
        return checked[storage.key].start

    pickled = whole(pickles[0])
    root, _, storages = load(data, pickled.start, pickled.start + pickled.size)
    if unchecked:
        _compare(entries, folder, storages)
    notes = ("the file was saved without checksums: damage to it cannot be seen",)
    return root, locate, notes if unchecked else ()


def _compare(entries: dict[str, Entry], folder: str, storages: dict[str, Storage]) -> None:
    """Without checksums, see at least that the pickle uses every storage there is."""
    stored = {name for name in entries if name.startswith(f"{folder}data/")}
    if stored != {f"{folder}data/{key}" for key in storages}:
        raise ValueError("storages and tensors that do not fit together")


def _refuse_script(path: Path, folder: str, entries: dict[str, Entry]) -> None:
    if f"{folder}constants.pkl" in entries:
        raise InputError(
            f"Expected weights, but {path} is a TorchScript archive, which is a program: save "
            "state_dict() of the model it was made from."
        )


def _open_legacy(_: Path, data: Buffer, load: Load) -> Opened:
    """Read magic number, protocol, system, object and storage keys; the storages follow."""
    magic, position, _storages = load(data, 0, len(data))
    if magic != _LEGACY_MAGIC:
        raise ValueError("not written by torch.save")
    protocol, position, _storages = load(data, position, len(data))
    system, position, _storages = load(data, position, len(data))
    if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict):
        raise ValueError("not written by torch.save")
    if system.get("little_endian") is not True:
        raise ValueError("written on a big-endian machine")
    root, position, storages = load(data, position, len(data))
    keys, position, _storages = load(data, position, len(data))
    if not isinstance(keys, list) or not all(isinstance(key, (str, int)) for key in keys):
        raise ValueError("no list of storages")
    starts = _legacy_starts(data, position, [str(key) for key in keys], storages)

    def locate(storage: Storage) -> int:
        if storage.nbytes != storages[storage.key].nbytes:
            raise ValueError("two sizes of one storage")
        return starts[storage.key]

    return root, locate, ()


def _legacy_starts(
    data: Buffer, position: int, keys: list[str], storages: dict[str, Storage]
) -> dict[str, int]:
    """Return where the bytes of each storage start: they lie in the order of `keys`."""
    starts: dict[str, int] = {}
    for key in keys:
        (count,) = struct.unpack("<q", data[position : position + _COUNT_BYTES])
        if key in starts or count != storages[key].count:
            raise ValueError(f"{count} of {storages[key].count} numbers of a tensor")
        starts[key] = position + _COUNT_BYTES
        position = starts[key] + storages[key].nbytes
    if position > len(data):
        raise ValueError(f"{len(data)} of {position} bytes")
    return starts
