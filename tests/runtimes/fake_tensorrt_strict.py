"""Classes made from recorded names: what the real module lacks, they lack.

A behaviour class gives the few members our code calls; the record of a version decides which of
them exist, which properties may be set and which arguments a method takes.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

RECORDS = Path(__file__).resolve().parent / "tensorrt_api"
_MISSING = inspect.Parameter.empty


def recorded_versions() -> tuple[str, ...]:
    """Return the versions of the recorded modules, oldest first."""
    found = [path.stem for path in RECORDS.glob("[0-9]*.json")]
    return tuple(sorted(found, key=lambda text: [int(part) for part in text.split(".")]))


def read_record(version: str) -> dict[str, Any]:
    """Return the record of a version."""
    return dict(json.loads((RECORDS / f"{version}.json").read_text(encoding="utf-8")))


class FakeEnum:
    """Like a pybind11 enum: no int, no iteration, no indexing by name."""

    __members__: dict[str, FakeEnum] = {}

    def __init__(self, value: int) -> None:
        self.value = value
        self.name = next(k for k, v in self._numbers().items() if v == value)

    @classmethod
    def _numbers(cls) -> dict[str, int]:
        return {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __int__(self) -> int:
        return self.value

    __index__ = __int__

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __repr__(self) -> str:
        return f"<{self}: {self.value}>"


def make_enum(name: str, numbers: Mapping[str, int], extra: Mapping[str, Any]) -> type[FakeEnum]:
    """Return an enum of recorded members; `extra` are its properties."""
    body = {"_numbers": classmethod(lambda _: dict(numbers)), "__module__": "tensorrt", **extra}
    made: type[FakeEnum] = type(name.rpartition(".")[2], (FakeEnum,), body)
    made.__members__ = {key: made(value) for key, value in numbers.items()}
    for key, value in made.__members__.items():
        setattr(made, key, value)
    return made


class Behaviour:
    """Base of the behaviour classes, which see whatever the class made from them holds."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...


class Strict:
    """Base of every class: only recorded names can be read or set."""

    _strict = True

    def __setattr__(self, name: str, value: Any) -> None:
        known = hasattr(type(self), name) or "_strict" not in vars(type(self))
        if name[0] != "_" and not known:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        object.__setattr__(self, name, value)


def make_class(
    name: str, record: Mapping[str, Any], behaviour: type | None, bases: tuple[type, ...], trt: Any
) -> type:
    """Return a class with exactly the recorded public members.

    Args:
        name: of the class.
        record: its entry in the record.
        behaviour: methods and properties by name; `_defaults` holds initial values.
        bases: classes made before that it inherits from.
        trt: the module, to check the types of arguments.
    """
    own = dict(vars(behaviour)) if behaviour else {}
    body = {k: v for k, v in own.items() if k[0] == "_" and k not in ("__dict__", "__weakref__")}
    body |= {"__module__": "tensorrt", "_strict": True, "_trt": trt}
    for member, lines in record["methods"].items():
        body[member] = _method(f"{name}.{member}", own.get(member), lines, trt)
    defaults = own.get("_defaults", {})
    for member, kind in record["properties"].items():
        body[member] = _property(f"{name}.{member}", own.get(member), kind, defaults, trt)
    lines = record.get("init")
    if lines and "__init__" in own:
        body["__init__"] = _method(f"{name}.__init__", own["__init__"], lines, trt)
    elif lines == []:
        body["__new__"] = _no_constructor
    return type(name, bases or (Strict,), body)


def _no_constructor(cls: type, *_: Any) -> Any:
    raise TypeError(f"tensorrt.{cls.__name__}: No constructor defined!")


def create(cls: type, **fields: Any) -> Any:
    """Return an instance of a class without a constructor; `fields` become `_fields`."""
    made: Any = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(made, f"_{name}", value)
    return made


def _method(name: str, body: Any, lines: list[str], trt: Any) -> Any:
    if isinstance(body, (staticmethod, classmethod)):
        return body
    signatures = [parse_signature(line) for line in lines]

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if signatures and not any(_fits(each, (self, *args), kwargs, trt) for each in signatures):
            raise TypeError(f"{name}(): incompatible function arguments, supported: {lines}")
        if body is None:
            raise NotImplementedError(f"fake_tensorrt does not imitate {name}: add it.")
        return body(self, *args, **kwargs)

    return wraps(body)(call) if body else call


def _property(name: str, body: Any, kind: str, defaults: Mapping[str, Any], trt: Any) -> Any:
    member = name.rpartition(".")[2]
    access, _, wanted = kind.partition(" ")

    def read(self: Any) -> Any:
        if isinstance(body, property) and body.fget is not None:
            return body.fget(self)
        held = vars(self).get(f"_value_{member}", defaults.get(member, _MISSING))
        if held is _MISSING:
            raise NotImplementedError(f"fake_tensorrt does not imitate {name}: add it.")
        return held(self) if callable(held) and member in defaults else held

    def write(self: Any, value: Any) -> None:
        if not _is_a(value, wanted, trt):
            raise TypeError(f"{name}: expected {wanted}, got {type(value).__name__}")
        if isinstance(body, property) and body.fset is not None:
            body.fset(self, value)
        object.__setattr__(self, f"_value_{member}", value)

    return property(read, write if access == "rw" else None)


def parse_signature(line: str) -> inspect.Signature:
    """Return the parameters of a recorded line; the annotations stay texts.

    >>> list(parse_signature("f(self: A, pair: Tuple[int, int], b: int = 0) -> A").parameters)
    ['self', 'pair', 'b']
    """
    inside = line[line.index("(") + 1 : line.rindex(") ->")]
    parameters: list[inspect.Parameter] = []
    optional = False
    for item in re.split(r", (?![^\[(]*[\])])", inside) if inside else ():
        name, _, rest = item.partition(": ")
        annotation, has_default, default = rest.partition(" = ")
        optional = optional or bool(has_default)
        value = (default or "…") if optional else _MISSING
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(inspect.Parameter(name, kind, default=value, annotation=annotation))
    return inspect.Signature(parameters)


def _fits(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any], trt: Any
) -> bool:
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return False
    kinds = {name: item.annotation for name, item in signature.parameters.items()}
    given = [(value, kinds[name]) for name, value in bound.arguments.items() if name != "self"]
    return all(_is_a(value, kind, trt) for value, kind in given)


_SIMPLE: dict[str, Callable[[Any], bool]] = {
    "int": lambda value: hasattr(value, "__index__") and not isinstance(value, FakeEnum),
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "tuple": lambda value: isinstance(value, tuple),
    "list": lambda value: isinstance(value, list),
    "buffer": lambda value: isinstance(value, (bytes, bytearray, memoryview)),
    "Dims": lambda value: isinstance(value, (tuple, list)) or type(value).__name__ == "Dims",
}
_SIMPLE["typing.SupportsInt"] = _SIMPLE["int"]


def _is_a(value: Any, wanted: str, trt: Any) -> bool:
    """Say whether a value is what a recorded type names; unknown types take anything."""
    name = wanted.rpartition("::")[2].strip()
    if name in _SIMPLE:
        # An IHostMemory has the buffer protocol, as bytes have.
        return _SIMPLE[name](value) or (name == "buffer" and hasattr(value, "nbytes"))
    found = trt._find(name)
    return found is None or value is None or isinstance(value, found)
