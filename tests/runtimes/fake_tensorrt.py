"""A stand-in for the `tensorrt` module: recorded names of a real version, enough behaviour to test.

    trt = fake_tensorrt("10.3.0")
    trt = fake_tensorrt("8.6.0", reported="8.6.2.3", build_error="out of memory")

Names the real module of that version lacks raise AttributeError here too; so do setting a property
it does not have and, as TypeError, arguments it does not take. What it has and this file does not
imitate raises NotImplementedError. `trt._builds` lists what every build was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import (
    fake_tensorrt_build,
    fake_tensorrt_inspect,
    fake_tensorrt_network,
    fake_tensorrt_run,
)
from .fake_tensorrt_run import NUMPY_TYPES, Arrays
from .fake_tensorrt_strict import Strict, make_class, make_enum, read_record, recorded_versions


@dataclass
class Situation:
    """What the fake is to do; may be changed between calls as `trt._situation`.

    Args:
        gpu: False for a machine without a driver: no Builder, no Runtime.
        parse_errors: texts, or dicts with desc, node (index), node_name, node_operator.
        build_error: text the logger hears while a build fails.
        context_fails: no execution context: out of memory.
        execute_fails: `execute_async_v3` returns False.
        io_types: tensor name → DataType name the engine has, whatever the graph says.
        layers: what the inspector tells instead of the graph's nodes.
        run: (model bytes, inputs by name) → outputs by name, instead of ONNX Runtime.
        dla_cores: of the device.
    """

    gpu: bool = True
    parse_errors: tuple[Any, ...] = ()
    build_error: str | None = None
    context_fails: bool = False
    execute_fails: bool = False
    io_types: Mapping[str, str] = field(default_factory=dict)
    layers: list[Any] | None = None
    run: Callable[[bytes, Arrays], Arrays] | None = None
    dla_cores: int = 0


class Dims:
    """TensorRT's shape: iterable, indexed, equal to a tuple and yet none."""

    MAX_DIMS = 8

    def __init__(self, shape: Any = ()) -> None:
        self._lengths = tuple(int(item) for item in shape)

    def __iter__(self) -> Iterator[int]:
        return iter(self._lengths)

    def __len__(self) -> int:
        return len(self._lengths)

    def __getitem__(self, index: Any) -> Any:
        return self._lengths[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Dims, tuple, list)) and self._lengths == tuple(other)

    def __hash__(self) -> int:
        return hash(self._lengths)

    def __repr__(self) -> str:
        return repr(self._lengths)


class FakeModule:
    """The module object; only recorded names are there."""

    def __init__(self, record: Mapping[str, Any], version: str, situation: Situation) -> None:
        """Make every enum and class of the record."""
        self.__version__ = version
        self._situation = situation
        self._builds: list[dict[str, Any]] = []
        self._enums: dict[str, Any] = {}
        self._classes: dict[str, Any] = {}
        for name, numbers in record["enums"].items():
            extra = {item: property(_itemsize) for item in record["enum_properties"].get(name, ())}
            self._enums[name] = make_enum(name, numbers, extra)
        for name in record["classes"]:
            self._make(name, record["classes"])
        for name, path in record["values"].items():
            setattr(self, name, getattr(self._enums["DataType"], path.rpartition(".")[2]))
        for name in record["functions"]:
            setattr(self, name, _FUNCTIONS.get(name, _unimitated(name)))
        for name, value in {**self._enums, **self._classes}.items():
            owner, _, leaf = name.rpartition(".")
            setattr(self._classes[owner] if owner else self, leaf, value)
        for name, value in self._enums["ILogger.Severity"].__members__.items():
            setattr(self._classes["Logger"], name, value)
        self._classes["Logger"].Severity = self._enums["ILogger.Severity"]

    def _make(self, name: str, records: Mapping[str, Any]) -> Any:
        """Make a class after the classes it inherits from; return it."""
        if name not in self._classes:
            if name == "Dims":
                self._classes[name] = Dims
                return Dims
            parents = [self._make(base, records) for base in records[name]["bases"][:1]]
            bases = (Strict, bytes) if name == "IHostMemory" else tuple(parents)
            behaviour = _behaviour(name.rpartition(".")[2])
            self._classes[name] = make_class(name, records[name], behaviour, bases, self)
        return self._classes[name]

    def _find(self, name: str) -> Any:
        """Return the enum or class a recorded type names; None for any other type."""
        known = {**self._enums, **self._classes}
        return known.get(name, known.get(f"ILogger.{name}"))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"module 'tensorrt' has no attribute {name!r}")


def fake_tensorrt(version: str, *, reported: str | None = None, **options: Any) -> Any:
    """Return a module with the names of a recorded version.

    Args:
        version: recorded, e.g. "10.3.0"; `recorded_versions()` lists them.
        reported: what `__version__` says, where it is to be another release of the same names.
        options: fields of `Situation`.
    """
    if version not in recorded_versions():
        raise ValueError(f"no record of {version!r}, only of {recorded_versions()}")
    return FakeModule(read_record(version), reported or version, Situation(**options))


def _behaviour(name: str) -> type | None:
    rooms = (fake_tensorrt_build, fake_tensorrt_network, fake_tensorrt_run, fake_tensorrt_inspect)
    found = next((vars(room)[name] for room in rooms if name in vars(room)), None)
    return found if isinstance(found, type) else None


def _itemsize(kind: Any) -> float | None:
    if kind.name in NUMPY_TYPES:
        return int(np.dtype(NUMPY_TYPES[kind.name]).itemsize)
    return {"BF16": 2, "FP8": 1, "INT4": 0.5, "FP4": 0.5}.get(kind.name)


def _nptype(kind: Any) -> Any:
    if kind.name not in NUMPY_TYPES:
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return np.dtype(NUMPY_TYPES[kind.name]).type


def _unimitated(name: str) -> Callable[..., Any]:
    def call(*_: Any) -> Any:
        raise NotImplementedError(f"fake_tensorrt does not imitate {name}: add it.")

    return call


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "nptype": _nptype,
    "volume": lambda shape: int(np.prod(tuple(shape))) if len(tuple(shape)) else 1,
    "init_libnvinfer_plugins": lambda logger, namespace: logger is not None or bool(namespace),
}
