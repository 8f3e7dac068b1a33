"""Torch files read without running anything in them.

A pickle is a program. Here it may only build containers, numbers and *descriptions* of tensors;
every other name it asks for becomes an inert stub, so files that carry pickled training classes
still open. Names of the standard library that only an attack needs are refused by name. Tensors
are made after unpickling, from storage bytes whose bounds are checked. The two containers are
described in torch's notes on serialization (pytorch.org/docs/stable/notes/serialization.html).
"""

from __future__ import annotations

import contextlib
import pickle
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from ...common.errors import InputError
from .messages import one_line
from .pickle_machine import run_pickle
from .pickle_sections import choose
from .pickle_stack import Buffer, Machine
from .pickle_values import Name, Storage
from .torch_file import TorchFile, open_torch_file

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


def read_torch_file(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a zip or legacy torch file by name; nothing in it is executed.

    A mapping of names to tensors is taken as it is, or from `state_dict`, `model` and the like
    (`pickle_sections` lists them). Values that are no tensors are left out.

    Raises:
        InputError: truncated or damaged file, a pickle that names code to run, no tensors.
    """
    with opened(path) as file:
        return file.tensors(choose(file.root, str(path)).plans)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[TorchFile]:
    """Yield the file with its pickled value; every failure inside becomes one line.

    Raises:
        InputError: truncated or damaged file, a pickle that names code to run.
    """
    try:
        with open_torch_file(path, _load) as file:
            yield file
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


def _load(data: Buffer, start: int, stop: int) -> tuple[Any, int, dict[str, Storage]]:
    """Return the pickled value between `start` and `stop`, its end, and its storages by key."""
    known: dict[tuple[str, str], Name] = {}

    def resolve(module: str, name: str) -> Name:
        if (module, name) not in known:
            known[module, name] = _name(module, name)
        return known[module, name]

    machine = Machine(data, start, stop, resolve)
    return run_pickle(machine), machine.end, machine.storages


def _name(module: str, name: str) -> Name:
    """Return the name of a class or function, or raise for what is not known to be harmless.

    Pickles of torch spell them as Python 2 did ("commands Popen"): translate as pickle does.
    """
    if (module, name) in NAME_MAPPING:
        module, name = NAME_MAPPING[module, name]
    found = Name(IMPORT_MAPPING.get(module, module), name)
    root = found.module.split(".")[0]
    foreign = root not in sys.stdlib_module_names
    if not (foreign or root in _HARMLESS_MODULES or f"{found.module}.{name}" in _HARMLESS_NAMES):
        raise _Refused(str(found))
    return found
