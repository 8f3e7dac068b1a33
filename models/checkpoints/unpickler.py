"""Torch files read without running anything in them.

A pickle is a program. Here it may only build containers, numbers and *descriptions* of tensors;
every other name it asks for becomes an inert stub, so files that carry pickled training classes
still open. Names of the standard library that only an attack needs are refused by name. Tensors
are made after unpickling, from storage bytes whose bounds are checked. The two containers are
described in torch's notes on serialization (pytorch.org/docs/stable/notes/serialization.html).
"""

from __future__ import annotations

import collections
import math
import pickle
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ...common.errors import InputError
from .messages import one_line
from .torch_file import ReadStorage, Storage, open_torch_file

_STATE_KEYS = ("state_dict", "model_state_dict", "model")

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
}

# Standard-library names that honest checkpoints hold (as stubs: none is ever called).
_HARMLESS_MODULES = frozenset(
    "_codecs _collections argparse array collections copyreg dataclasses datetime decimal enum"
    " fractions functools itertools logging numbers pathlib random re string typing uuid weakref"
    " zoneinfo".split()
)
_HARMLESS_NAMES = frozenset(
    f"builtins.{name}"
    for name in "bool bytearray bytes complex dict float frozenset getattr int list object range"
    " set slice str tuple type".split()
) | {"types.SimpleNamespace"}


class _Refused(pickle.UnpicklingError):
    """The pickle names something only an attack needs."""


class Stub:
    """Stands for an object of a foreign class: takes anything, does nothing."""

    def __new__(cls, *_: object, **__: object) -> Stub:
        """Accept any arguments."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        """Accept any arguments."""

    def __call__(self, *_: object, **__: object) -> Stub:
        """Return another stub."""
        return Stub()

    def __setstate__(self, _: object) -> None:
        """Ignore any state."""

    def __setitem__(self, _: object, __: object) -> None:
        """Ignore any item."""

    def append(self, _: object) -> None:
        """Ignore any element."""

    def extend(self, _: object) -> None:
        """Ignore any elements."""

    def add(self, _: object) -> None:
        """Ignore any element."""


@dataclass(frozen=True)
class _TensorPlan:
    """What a pickled tensor says of itself (the arguments of torch's own rebuild functions)."""

    storage: Any
    offset: Any
    shape: Any
    stride: Any
    requires_grad: Any = None
    hooks: Any = None
    metadata: Any = None

    def __setstate__(self, _: object) -> None:
        """Ignore state: a plan is complete when it is made."""


class _Parameter:
    """Stands for `torch.nn.Parameter`: calling it returns the tensor's plan unchanged."""

    def __new__(cls, data: Any, *_: object) -> Any:
        """Return `data`."""
        return data

    def __setstate__(self, _: object) -> None:
        """Ignore state."""


# Classes, not functions: a pickle could set attributes on a function object and outlive the load.
_BUILDERS: dict[tuple[str, str], type] = {
    ("torch._utils", "_rebuild_tensor"): _TensorPlan,
    ("torch._utils", "_rebuild_tensor_v2"): _TensorPlan,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
    ("torch.nn.parameter", "Parameter"): _Parameter,
    ("collections", "OrderedDict"): collections.OrderedDict,
}


def read_torch_file(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a zip or legacy torch file by name; nothing in it is executed.

    A mapping of names to tensors is taken as it is, or from `state_dict`, `model_state_dict`
    or `model` at the top. Values that are no tensors are left out.

    Raises:
        InputError: truncated or damaged file, a pickle that names code to run, no tensors.
    """
    try:
        with open_torch_file(path, _load) as (root, read_storage):
            return _tensors(root, read_storage, path)
    except _Refused as error:
        raise InputError(
            f"Refused {path}: its pickle asks for {error}, which a checkpoint never needs and "
            "could run code (nothing was run). Get the weights as safetensors from a source "
            "you trust."
        ) from error
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can raise anything; none of it is a crash
        raise InputError(
            f"Expected a whole torch file, but {path} is truncated or damaged "
            f"({one_line(error)}): download or save it again."
        ) from error


def _load(file: IO[bytes]) -> tuple[Any, dict[str, Storage]]:
    unpickler = _Unpickler(file)
    return unpickler.load(), unpickler.storages


class _Unpickler(pickle.Unpickler):
    """An unpickler that can reach no code but the classes of this file."""

    def __init__(self, file: IO[bytes]) -> None:
        """Read from `file`; `storages` collects what the pickle refers to, by key."""
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return our own builder for tensors, a container, or an inert stub class."""
        known = _BUILDERS.get((module, name))
        if known is not None:
            return known
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _DTYPES[name]
        _refuse_code(module, name)
        return type(name.rpartition(".")[2] or "Stub", (Stub,), {})

    def persistent_load(self, pid: Any) -> Any:
        """Turn ("storage", type, key, location, count, …) into a plan of a storage.

        Legacy files also write ("module", class, source file, source): the class is enough.
        """
        if pid[0] == "module":
            return pid[1]
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or any(view):
            raise pickle.UnpicklingError(f"unknown storage {kind!r}")
        storage = Storage(str(key), dtype, int(count))
        self.storages.setdefault(storage.key, storage)
        return storage


def _refuse_code(module: str, name: str) -> None:
    """Raise for standard-library names not known to be harmless.

    Pickles of torch spell them as Python 2 did ("commands Popen"): translate as pickle does.
    """
    if (module, name) in NAME_MAPPING:
        module, name = NAME_MAPPING[module, name]
    module = IMPORT_MAPPING.get(module, module)
    root = module.split(".")[0]
    foreign = root not in sys.stdlib_module_names
    if not (foreign or root in _HARMLESS_MODULES or f"{module}.{name}" in _HARMLESS_NAMES):
        raise _Refused(f"{module}.{name}")


def _tensors(root: Any, read_storage: ReadStorage, path: Path) -> dict[str, Tensor]:
    plans = _plans(root)
    if not plans and isinstance(root, Mapping):
        plans = next((found for key in _STATE_KEYS if (found := _plans(root.get(key)))), {})
    if not plans:
        raise InputError(
            f"Expected named tensors, but {path} holds a pickled {type(root).__name__} without "
            "any: save model.state_dict()."
        )
    cache: dict[Storage, Tensor] = {}
    return {name: _materialise(plan, read_storage, cache) for name, plan in plans.items()}


def _plans(root: Any) -> dict[str, _TensorPlan]:
    if not isinstance(root, Mapping):
        return {}
    return {str(name): plan for name, plan in root.items() if isinstance(plan, _TensorPlan)}


def _materialise(plan: _TensorPlan, read: ReadStorage, cache: dict[Storage, Tensor]) -> Tensor:
    """Read a plan's storage (once per file) and view it; torch refuses views out of bounds."""
    storage = plan.storage
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    if math.prod(plan.shape) > storage.count:  # a repeating view could ask for any memory
        raise pickle.UnpicklingError("a tensor larger than its storage")
    if storage not in cache:
        data = read(storage)
        if len(data) != storage.nbytes:
            raise pickle.UnpicklingError(f"{len(data)} of {storage.nbytes} bytes of a tensor")
        empty = torch.empty(0, dtype=storage.dtype)
        cache[storage] = torch.frombuffer(data, dtype=storage.dtype) if data else empty
    view = torch.as_strided(cache[storage], tuple(plan.shape), tuple(plan.stride), plan.offset)
    return view.clone(memory_format=torch.contiguous_format)
