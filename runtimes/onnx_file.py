"""Metadata, inputs and outputs of an ONNX file, read without loading its weights.

A ModelProto is a protobuf message: fields of (number, wire type, payload). Walking the outer
fields and stepping over nodes and tensors takes microseconds and no memory, where the `onnx`
package would parse every weight. Field numbers: onnx/onnx.proto, "ModelProto" and below.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import InputError
from .session import TensorInfo

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    16: "bfloat16",
}

Span = tuple[int, int]
Field = tuple[int, int, Span]  # number, value of a varint (else 0), where the payload lies


@dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file says about itself; weights listed as inputs are left out.

    `external` tells that weights lie in files beside this one.
    """

    metadata: dict[str, str]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    external: bool = False


def read_onnx_file(path: Path) -> OnnxFile:
    """Return metadata, inputs and outputs of the ONNX file at `path`.

    Raises:
        InputError: the file is empty, truncated or no ONNX model.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read_model(data)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise InputError(
            f"Expected a whole ONNX model, but {path} is truncated or not ONNX: export it again."
        ) from error
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error


def _read_model(data: mmap.mmap) -> OnnxFile:
    metadata: dict[str, str] = {}
    graph: Span | None = None
    for number, _, span in _fields(data, (0, len(data))):
        if number == 7:
            graph = span
        elif number == 14:
            entry = {n: _text(data, s) for n, _, s in _fields(data, span)}
            metadata[entry.get(1, "")] = entry.get(2, "")
    if graph is None:
        raise ValueError("no graph")
    inputs: list[TensorInfo] = []
    outputs: list[TensorInfo] = []
    weights: set[str] = set()
    external = False
    for number, _, span in _fields(data, graph):
        if number == 5:
            name, outside = _weight(data, span)
            weights.add(name)
            external = external or outside
        elif number in (11, 12):
            (inputs if number == 11 else outputs).append(_tensor(data, span))
    real = tuple(item for item in inputs if item.name not in weights)
    return OnnxFile(metadata, real, tuple(outputs), external)


def _fields(data: mmap.mmap, span: Span) -> Iterator[Field]:
    """Yield the fields of the message in `span`; ValueError where they do not fit it."""
    at, end = span
    while at < end:
        key, at = _varint(data, at, end)
        number, wire = key >> 3, key & 7
        value, size = 0, {_FIXED64: 8, _FIXED32: 4}.get(wire, 0)
        if wire in (_VARINT, _BYTES):
            value, at = _varint(data, at, end)
            size = value if wire == _BYTES else 0
        elif not size:
            raise ValueError("unknown wire type")
        if number == 0 or at + size > end:
            raise ValueError("a field exceeds its message")
        yield number, value, (at, at + size)
        at += size


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """Return the number at `at` (seven bits a byte, lowest first) and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("broken number")


def _text(data: mmap.mmap, span: Span) -> str:
    return data[span[0] : span[1]].decode("utf-8")


def _weight(data: mmap.mmap, span: Span) -> tuple[str, bool]:
    """Return the name of a TensorProto and whether its values lie in another file."""
    name, outside = "", False
    for number, value, inner in _fields(data, span):
        if number == 8:
            name = _text(data, inner)
        elif number == 14:
            outside = value == 1
    return name, outside


def _tensor(data: mmap.mmap, span: Span) -> TensorInfo:
    """Return a ValueInfoProto; a free or missing dimension becomes a name."""
    name, dtype = "", "unknown"
    shape: tuple[int | str, ...] = ()
    for number, _, inner in _fields(data, span):
        if number == 1:
            name = _text(data, inner)
        elif number == 2:
            dtype, shape = _type(data, inner)
    return TensorInfo(name, dtype, shape)


def _type(data: mmap.mmap, span: Span) -> tuple[str, tuple[int | str, ...]]:
    """Return dtype and shape of a TypeProto that holds a tensor."""
    dtype = "unknown"
    shape: tuple[int | str, ...] = ()
    for number, _, tensor in _fields(data, span):
        for item, value, inner in _fields(data, tensor) if number == 1 else ():
            if item == 1:
                dtype = _DTYPES.get(value, "unknown")
            elif item == 2:
                shape = tuple(_dimension(data, dim) for _, _, dim in _fields(data, inner))
    return dtype, shape


def _dimension(data: mmap.mmap, span: Span) -> int | str:
    for number, value, inner in _fields(data, span):
        return value if number == 1 else _text(data, inner)
    return "?"
