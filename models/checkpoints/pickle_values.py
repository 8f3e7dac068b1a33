"""What a pickle of torch may build here: plain containers, descriptions of tensors, inert stubs.

Nothing in this file is called by a name a pickle chooses but the few builders of `BUILDERS`,
which make values of this file or of plain Python.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "QInt8Storage": torch.qint8,
    "QUInt8Storage": torch.quint8,
    "QInt32Storage": torch.qint32,
    "UntypedStorage": torch.uint8,
}
_STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")
_MAX_DIMENSIONS = 64
_MAX_NUMBERS = 1 << 48  # far above any file, far below what overflows torch's 64-bit sizes


@dataclass(frozen=True)
class Name:
    """A class or function a pickle names; never imported, never called."""

    module: str
    name: str

    def __str__(self) -> str:
        """Return module.name on one line, short."""
        text = f"{self.module}.{self.name}"
        return text if text.isprintable() and len(text) < 100 else repr(text)[:100]


class Stub:
    """Stands for an object of a foreign class: holds what the pickle said, does nothing.

    `state` is what the pickle would restore the object from, `items` what it would put into it.
    """

    __slots__ = ("items", "name", "state")

    def __init__(self, name: Name) -> None:
        """Make an empty stub of class `name`."""
        self.name = name
        self.state: Any = None
        self.items: dict[Any, Any] | None = None


@dataclass(frozen=True)
class Blob:
    """Bytes, or a text longer than any name or setting, that were skipped."""

    nbytes: int


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


@dataclass(frozen=True)
class TensorPlan:
    """A tensor as a view of a storage; its bounds have been checked against the storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def span(self) -> int:
        """Numbers from the first to the last one of the view."""
        if 0 in self.shape:
            return 0
        return 1 + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))

    @property
    def nbytes(self) -> int:
        """Bytes the tensor needs on its own."""
        return math.prod(self.shape) * self.storage.dtype.itemsize


@dataclass(frozen=True)
class Unreadable:
    """A tensor that is no dense array of numbers; `kind` says what it is ("quantised", …)."""

    kind: str


def storage(pid: Any) -> Storage | Name:
    """Turn ("storage", type, key, location, count[, view]) into the plan of a storage.

    Legacy files also write ("module", class, source file, source): the class is enough.

    Raises:
        pickle.UnpicklingError: anything else.
    """
    if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module" and isinstance(pid[1], Name):
        return pid[1]
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or any(pid[5:]):
        raise pickle.UnpicklingError("an unknown kind of storage")
    kind, key, count = pid[1], pid[2], pid[4]
    dtype = _DTYPES.get(kind.name) if isinstance(kind, Name) else None
    if dtype is None or kind.module not in _STORAGE_MODULES:
        raise pickle.UnpicklingError(f"an unknown kind of storage ({kind})"[:100])
    if type(count) is not int or not 0 <= count < _MAX_NUMBERS or not isinstance(key, (str, int)):
        raise pickle.UnpicklingError("a storage of impossible size")
    return Storage(str(key), dtype, count)


def _sizes(values: Any) -> tuple[int, ...]:
    if isinstance(values, (tuple, list)) and len(values) <= _MAX_DIMENSIONS:
        sizes = tuple(values)
        if all(type(size) is int and 0 <= size < _MAX_NUMBERS for size in sizes):
            return sizes
    raise pickle.UnpicklingError("a tensor of impossible shape or strides")


def _tensor(args: tuple[Any, ...]) -> TensorPlan | Unreadable:
    """Check (storage, offset, shape, stride[, requires_grad, hooks, metadata])."""
    if len(args) < 4 or not isinstance(args[0], Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    held, offset, shape, stride = args[0], args[1], _sizes(args[2]), _sizes(args[3])
    if held.dtype in (torch.qint8, torch.quint8, torch.qint32):
        return Unreadable("quantised")
    if len(args) > 6 and args[6]:
        return Unreadable("lazily conjugated or negated")
    if len(shape) != len(stride) or type(offset) is not int or not 0 <= offset <= held.count:
        raise pickle.UnpicklingError("a tensor of impossible shape or strides")
    plan = TensorPlan(held, offset, shape, stride)
    if math.prod(shape) > held.count:  # a repeating view could ask for any memory
        raise pickle.UnpicklingError("a tensor larger than its storage")
    if offset + plan.span > held.count:
        raise pickle.UnpicklingError("a tensor that reaches past its storage")
    if _overlaps(shape, stride):
        raise pickle.UnpicklingError("a tensor that overlaps itself")
    return plan


def _overlaps(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Say whether two indices meet in one number, but for a repeated (stride 0) dimension."""
    reach = 1
    for step, size in sorted(zip(stride, shape, strict=True)):
        if size > 1 and step:
            if step < reach:
                return True
            reach += step * (size - 1)
    return False


def _first(args: tuple[Any, ...]) -> Any:
    """Return what a wrapper (a Parameter, a Size, a set) wraps."""
    return args[0] if args else []


def _subclass(args: tuple[Any, ...]) -> Any:
    """Return the tensor of (function, class, arguments, state): a tensor with attributes."""
    if len(args) >= 3 and isinstance(args[0], Name) and isinstance(args[2], tuple):
        made = BUILDERS.get((args[0].module, args[0].name))
        if made is _tensor or made is _first:
            return made(args[2])
    return Unreadable("of a foreign tensor class")


def _mapping(args: tuple[Any, ...]) -> dict[Any, Any]:
    """Return a dict; Python 2 gives the pairs of an OrderedDict as lists."""
    pairs = args[0] if args and isinstance(args[0], list) else []
    return {p[0]: p[1] for p in pairs if isinstance(p, (list, tuple)) and len(p) == 2 and is_key(p)}


def is_key(pair: Any) -> bool:
    """Say whether pair[0] may be a dict key: a text, or a number whose hashes cannot collide."""
    key = pair[0]
    return type(key) is str or key is None or (isinstance(key, int) and abs(key) < 1 << 31)


def _bytes(args: tuple[Any, ...]) -> Blob:
    return Blob(len(args[0]) if args and isinstance(args[0], str) else 0)


def _kind(kind: str) -> Callable[[tuple[Any, ...]], Unreadable]:
    return lambda _: Unreadable(kind)


# (module, name) → builder of the value from the arguments
BUILDERS: dict[tuple[str, str], Callable[[tuple[Any, ...]], Any]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch.nn.parameter", "Parameter"): _first,
    ("torch", "Size"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): _subclass,
    ("torch._utils", "_rebuild_tensor_v3"): _kind("of a number format weights do not have"),
    ("torch._utils", "_rebuild_qtensor"): _kind("quantised"),
    ("torch._utils", "_rebuild_sparse_tensor"): _kind("sparse"),
    ("torch._utils", "_rebuild_sparse_csr_tensor"): _kind("sparse"),
    ("torch._utils", "_rebuild_nested_tensor"): _kind("nested"),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _kind("without data (device meta)"),
    ("torch._utils", "_rebuild_wrapper_subclass"): _kind("of a foreign tensor class"),
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _kind("of a foreign device"),
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _first,
    ("torch._utils", "_rebuild_xla_tensor"): _kind("of a foreign device"),
    ("collections", "OrderedDict"): _mapping,
    ("collections", "defaultdict"): _mapping,
    ("builtins", "dict"): _mapping,
    ("builtins", "set"): _first,
    ("builtins", "frozenset"): _first,
    ("_codecs", "encode"): _bytes,
    ("builtins", "bytes"): _bytes,
}


def build(name: Name, args: tuple[Any, ...]) -> Any:
    """Return what a call of `name` stands for: a plan, a container or a stub.

    Raises:
        pickle.UnpicklingError: a tensor that contradicts itself.
    """
    builder = BUILDERS.get((name.module, name.name))
    return Stub(name) if builder is None else builder(args)
