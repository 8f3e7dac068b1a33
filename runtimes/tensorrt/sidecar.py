"""ENGINE.json beside a TensorRT engine: what it is, how it is fed, and where it may run.

A plan is opaque and TensorRT crashes or answers with a stack of codes on one it cannot use; the
sidecar says the same before anything is deserialized. Needs no TensorRT.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ...common.errors import InputError
from ...common.files import sha256_file, write_text
from ...data.contract import Contract
from ..artifact import Lineage
from ..session import TensorInfo
from .portability import refuse_other_gpu, refuse_other_version

SIDECAR_VERSION = 1
HEAD_BYTES = 4  # a plan begins with a tag of its own; it tells a foreign file from a damaged one
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or a PyTorch checkpoint",
    b"\x7fELF": "a program or library",
    b"\x1f\x8b": "a gzip archive",
    b"\x08": "an ONNX file",
    b"{": "JSON",
    b"vers": "a Git LFS pointer: fetch the file with `git lfs pull`",
}


@dataclass(frozen=True)
class ShapeRange:
    """Smallest, tuned-for and largest shape (B,3,H,W) of the image in one optimization profile."""

    minimum: tuple[int, ...]
    optimum: tuple[int, ...]
    maximum: tuple[int, ...]

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Say whether an image of `shape` may be run.

        >>> ShapeRange((1, 3, 8, 8), (1, 3, 8, 8), (4, 3, 8, 8)).accepts((2, 3, 8, 8))
        True
        """
        return len(shape) == len(self.minimum) and all(
            low <= side <= high
            for low, side, high in zip(self.minimum, shape, self.maximum, strict=True)
        )


@dataclass(frozen=True)
class EngineInfo:
    """What an engine's sidecar says.

    `engine_head` holds its first bytes in hexadecimal. `sm` is the compute capability ("8.7").
    `precision` is what the graph asked for, `options` what the builder was given, `layers` what
    each layer got (rows of `optimize.tensorrt.layers`).
    """

    engine_sha256: str
    engine_bytes: int
    engine_head: str
    contract: Contract
    lineage: Lineage
    tensorrt: str
    cuda_runtime: str
    driver: str
    gpu: str
    sm: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    profiles: tuple[ShapeRange, ...]
    precision: str
    hardware_compatibility: str = "none"
    version_compatible: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    layers: tuple[dict[str, Any], ...] = ()
    version: int = SIDECAR_VERSION

    def to_json(self) -> str:
        """Return the sidecar's text."""
        values = {item.name: getattr(self, item.name) for item in fields(EngineInfo)}
        values["contract"] = json.loads(self.contract.to_json())
        values["lineage"] = json.loads(self.lineage.to_json())
        for name in ("inputs", "outputs", "profiles"):
            values[name] = [asdict(item) for item in values[name]]
        return json.dumps(values, indent=1, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str) -> EngineInfo:
        """Rebuild what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError, InputError: the text says something else.
        """
        values: dict[str, Any] = json.loads(text)
        values["contract"] = Contract.from_json(json.dumps(values["contract"]))
        values["lineage"] = Lineage.from_json(json.dumps(values["lineage"]))
        for name in ("inputs", "outputs"):
            values[name] = tuple(
                TensorInfo(item["name"], item["dtype"], tuple(item["shape"]))
                for item in values[name]
            )
        values["profiles"] = tuple(
            ShapeRange(tuple(item["minimum"]), tuple(item["optimum"]), tuple(item["maximum"]))
            for item in values["profiles"]
        )
        values["layers"] = tuple(values["layers"])
        return EngineInfo(**values)


def sidecar_path(engine_path: Path) -> Path:
    """Return where the sidecar of `engine_path` lies.

    >>> sidecar_path(Path("m.engine")).name
    'm.engine.json'
    """
    return engine_path.with_name(f"{engine_path.name}.json")


def write_sidecar(engine_path: Path, info: EngineInfo) -> Path:
    """Write `info` beside the engine, whole or not at all, and return its path."""
    path = sidecar_path(engine_path)
    write_text(path, info.to_json())
    return path


def read_sidecar(engine_path: Path) -> EngineInfo:
    """Return what is written beside an engine.

    Raises:
        InputError: the engine or its sidecar is missing, or the sidecar is damaged or newer.
    """
    path = sidecar_path(engine_path)
    if not engine_path.is_file():
        raise InputError(f"Expected a TensorRT engine, but {engine_path} is no file.")
    if not path.is_file():
        raise InputError(
            f"Expected {path.name} beside {engine_path}, but it is missing: copy it along with "
            "the engine, or build it here with `segship build`."
        )
    text = path.read_text(encoding="utf-8", errors="replace")
    _refuse_newer(path, text)
    try:
        return EngineInfo.from_json(text)
    except (ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        raise InputError(
            f"Expected the sidecar of an engine in {path}, but it cannot be read "
            f"({type(error).__name__}: {error}): copy it again, or build again."
        ) from error


def check_engine(
    engine_path: Path, info: EngineInfo, *, trt_version: str, sm: str, gpu: str
) -> tuple[str, ...]:
    """Refuse an engine that is damaged, foreign, or built for something else.

    Args:
        engine_path: the plan.
        info: its sidecar.
        trt_version: the TensorRT that would run it.
        sm: compute capability of the GPU that would run it ("8.7").
        gpu: that GPU's name.

    Returns:
        What is allowed and worth knowing, in sentences.

    Raises:
        InputError: what does not fit.
    """
    _refuse_changed(engine_path, info)
    notes = refuse_other_version(
        engine_path, info.tensorrt, trt_version, compatible=info.version_compatible
    )
    return notes + refuse_other_gpu(
        engine_path, (info.gpu, info.sm), (gpu, sm), compatibility=info.hardware_compatibility
    )


def _refuse_newer(path: Path, text: str) -> None:
    try:
        version = json.loads(text)["version"]
    except (ValueError, KeyError, TypeError):
        return  # the reader says what is wrong
    if version != SIDECAR_VERSION:
        raise InputError(
            f"Expected a sidecar of version {SIDECAR_VERSION}, but {path} has version {version!r}: "
            "use the segship that wrote it, or build again."
        )


def _refuse_changed(engine_path: Path, info: EngineInfo) -> None:
    """Refuse a file that is not, byte for byte, the engine `info` describes."""
    try:
        with open(engine_path, "rb") as file:
            head = file.read(HEAD_BYTES)
        size_bytes = engine_path.stat().st_size
    except OSError as error:
        raise InputError(f"Cannot read {engine_path}: {error.strerror or error}.") from error
    if size_bytes and head.hex() != info.engine_head[: 2 * len(head)]:
        kind = next((what for tag, what in _FOREIGN.items() if head.startswith(tag)), "")
        raise InputError(
            f"Expected the engine its sidecar describes, but {engine_path} is "
            f"{kind or 'no such file (its first bytes are others)'}."
        )
    if size_bytes != info.engine_bytes:
        what = "cut off" if size_bytes < info.engine_bytes else "longer than built"
        raise InputError(
            f"Expected {info.engine_bytes} bytes, but {engine_path} has {size_bytes} ({what}): "
            "copy engine and sidecar again."
        )
    if sha256_file(engine_path) != info.engine_sha256:
        raise InputError(
            f"Expected the bytes the sidecar hashed, but {engine_path} has others: copy engine "
            "and sidecar again, or build again."
        )
