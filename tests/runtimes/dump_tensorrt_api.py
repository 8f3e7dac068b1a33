"""Print the public names of an importable TensorRT as JSON; runs alone in the right Python.

    PYTHONPATH=FOLDER python dump_tensorrt_api.py tensorrt_bindings

Names, signatures and enum members only. Needs no GPU: nothing is built or run.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from typing import Any

# The classes whose signatures are kept: what a build and a session call.
CALLED = (
    "Builder",
    "Dims",
    "EngineInspector",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILayer",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IParserError",
    "IProfiler",
    "IProgressMonitor",
    "IRuntimeConfig",
    "ISerializationConfig",
    "ITensor",
    "ITimingCache",
    "Logger",
    "OnnxParser",
    "Runtime",
    "ParserError",
)


def signatures(owner: Any, name: str) -> list[str]:
    """Return the signature lines of a bound method: one, or one per overload."""
    doc = getattr(owner, name).__doc__ or ""
    lines = re.findall(rf"^(?:\d+\. )?({name}\(.*)$", doc, re.MULTILINE)
    return [_short(line) for line in lines if not line.startswith(f"{name}(*args")]


def _short(line: str) -> str:
    line = re.sub(r"\b(?:tensorrt_bindings|tensorrt)\.(?:tensorrt\.)?", "", line)
    return re.sub(r"<([\w.]+): -?\d+>", r"\1", line)


def describe_property(item: property) -> str:
    """Return "ro TYPE", or "rw TYPE" of what may be set; TYPE is "" where the module tells none."""
    access = item.fset or item.fget
    pattern = r"arg1: (.*)\) ->" if item.fset else r"-> (.*)"
    found = re.search(pattern, _short(access.__doc__ or "") if access else "")
    return f"{'rw' if item.fset else 'ro'} {found[1] if found else ''}".rstrip()


def describe_class(owner: Any, name: str) -> dict[str, Any]:
    """Return what a class adds to its bases: methods with signatures, properties with types."""
    bases = [base for base in owner.__mro__[1:-1] if not base.__name__.startswith("pybind11")]
    own = {m: inspect.getattr_static(owner, m) for m in vars(owner) if m[0] != "_"}
    properties = {m: describe_property(p) for m, p in own.items() if isinstance(p, property)}
    callables = [m for m in own if m not in properties and callable(getattr(owner, m))]
    methods = [m for m in sorted(callables) if not inspect.isclass(getattr(owner, m))]
    # A network is filled by the parser: its fifty add_… methods are not called by us.
    told = [m for m in methods if name in CALLED]
    if name == "INetworkDefinition":
        told = [m for m in told if not m.startswith("add_")]
    found = {
        "bases": [base.__name__ for base in bases],
        "methods": {m: signatures(owner, m) if m in told else [] for m in methods},
        "properties": dict(sorted(properties.items())),
        "values": sorted(m for m in own if m not in properties and m not in callables),
    }
    return {**found, "init": signatures(owner, "__init__")} if name in CALLED else found


def describe(module: Any) -> dict[str, Any]:
    """Return the whole record."""
    record: dict[str, Any] = {
        "version": module.__version__,
        "classes": {},
        "enums": {},
        "functions": {},
    }
    record.update(values={}, enum_properties={})
    nested = []
    for name in sorted(dir(module)):
        value = getattr(module, name)
        if name.startswith("_") or inspect.ismodule(value):
            continue
        if inspect.isclass(value):
            nested.append((name, value))
        elif type(value).__name__ == "DataType":
            record["values"][name] = f"DataType.{value.name}"
        elif callable(value) and name not in ("common_enter", "common_exit"):
            record["functions"][name] = signatures(module, name)
    while nested:
        name, value = nested.pop(0)
        if hasattr(value, "__members__"):
            record["enums"][name] = {k: int(v) for k, v in value.__members__.items()}
            extra = [n for n in dir(value) if n[0] != "_" and n not in value.__members__]
            record["enum_properties"][name] = [n for n in extra if n not in ("name", "value")]
            continue
        record["classes"][name] = describe_class(value, name)
        inner = [n for n in dir(value) if n[0] != "_" and inspect.isclass(getattr(value, n))]
        nested += [(f"{name}.{n}", getattr(value, n)) for n in inner]
    kept = {name: extra for name, extra in record["enum_properties"].items() if extra}
    return {**record, "enum_properties": kept}


if __name__ == "__main__":
    found = describe(importlib.import_module(sys.argv[1]))
    json.dump(found, sys.stdout, indent=1, sort_keys=True)
