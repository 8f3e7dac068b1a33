"""Every file weights come in: its tensors, and the plain values beside them."""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ...common.errors import InputError
from .messages import one_line
from .pickle_plain import plain_values
from .pickle_sections import choose
from .torch_zip import ZIP_START
from .unpickler import opened

_LFS_POINTER = b"version https://git-lfs"
_MAX_HEADER_BYTES = 16 << 20  # of a safetensors file; 1000 tensors take 0.1 MiB
_MAX_TENSORS = 20_000


@dataclass(frozen=True)
class Container:
    """What one weights file holds.

    `kind` is "safetensors", "plain" (a dict of tensors), "mmcv", "mmengine", "lightning", "tao",
    "module" (a whole pickled model) or "dict" (weights under some key). `tensors` have the names
    and dtypes as stored. `meta` holds the plain values beside them, by the key at the top of the
    file: texts, numbers, bools, None, lists and dicts, nothing else. `notes` are sentences a user
    must know, such as which of two sets of weights was taken.
    """

    path: Path
    kind: str
    tensors: dict[str, Tensor]
    meta: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_container(path: Path) -> Container:
    """Read one safetensors or torch file; nothing in it is ever executed.

    The format is told by the file's first bytes, and by its suffix where it is .safetensors. No
    storage but those of the weights is read.

    Raises:
        InputError: the file is truncated, damaged, unsafe, encrypted or holds no weights.
    """
    head = _head(path)
    if head.startswith(_LFS_POINTER):
        raise InputError(
            f"Expected weights, but {path} is a Git LFS pointer: run `git lfs pull` in its folder."
        )
    torch_zip = head.startswith(ZIP_START)
    if _is_safetensors(path, head) or (path.suffix == ".safetensors" and not torch_zip):
        return _read_safetensors(path)
    with opened(path) as file:
        choice = choose(file.root, str(path))
        meta = plain_values(file.root, choice.used)
        return Container(
            path, choice.kind, file.tensors(choice.plans), meta, choice.notes + file.notes
        )


def _head(path: Path) -> bytes:
    """Return the first bytes of a regular file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever
            raise InputError(f"Expected a weights file, but {path} is no regular file.")
        with open(path, "rb") as file:
            return file.read(len(_LFS_POINTER))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise InputError(f"Cannot read {path}: {reason}.") from error


def _is_safetensors(path: Path, head: bytes) -> bool:
    """Say whether a file starts as safetensors does: the header's size, then its JSON."""
    if len(head) < 9 or head[8:9] != b"{":
        return False
    return int(struct.unpack("<Q", head[:8])[0]) <= path.stat().st_size


def _read_safetensors(path: Path) -> Container:
    from safetensors import safe_open

    try:
        _bound_header(path)
        with safe_open(str(path), framework="pt", device="cpu") as file:
            names = list(file.keys())
            if len(names) > _MAX_TENSORS:
                raise ValueError(f"{len(names)} tensors")
            tensors = {name: file.get_tensor(name) for name in names}
            meta = dict(file.metadata() or {})
    except Exception as error:  # the library and torch raise many kinds on a damaged header
        raise InputError(
            f"Expected a whole safetensors file, but {path} is truncated or damaged "
            f"({one_line(error)}): download it again."
        ) from error
    return Container(path, "safetensors", tensors, meta)


def _bound_header(path: Path) -> None:
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > _MAX_HEADER_BYTES:
        raise ValueError(f"a header of {size} bytes")
