"""Ranges kept in a file, and refused when anything they depend on has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.files import write_text
from ..data.contract import Contract
from ..runtimes.onnx_file import read_onnx_file
from .collect import SAMPLE
from .observers.percentile import DEFAULT_PERCENTILE
from .ranges import Ranges

RANGES_VERSION = 1  # changes with whatever changes the ranges of the same images
_PREPROCESSING = (
    "size_px",
    "resize",
    "resample",
    "channel_order",
    "scale",
    "mean",
    "std",
    "input",
)


@dataclass(frozen=True)
class CacheKey:
    """What ranges depend on, each part as a hash or a short text."""

    graph: str
    images: str
    preprocessing: str
    method: str
    version: str


def cache_key(
    model: Path,
    images: str,
    contract: Contract,
    *,
    method: str = "entropy",
    symmetric: bool = True,
    percentile: float = DEFAULT_PERCENTILE,
    sample: int = SAMPLE,
) -> CacheKey:
    """Return the key of a calibration; `images` is the digest of its `CalibrationSet`.

    Of the model only the graph counts, not the metadata beside it; of the contract the fields
    that change pixels.

    Raises:
        InputError: `model` is no whole ONNX file.
    """
    import onnx

    read_onnx_file(model)
    graph = onnx.load(str(model)).graph.SerializeToString(deterministic=True)
    values = json.loads(contract.to_json())
    pixels = json.dumps({name: values[name] for name in _PREPROCESSING}, sort_keys=True)
    kind = f"percentile {percentile:g}" if method == "percentile" else method
    sides = "symmetric" if symmetric else "asymmetric"
    return CacheKey(
        graph=hashlib.sha256(graph).hexdigest(),
        images=images,
        preprocessing=pixels,
        method=f"{kind}, {sides}, sample {sample}",
        version=str(RANGES_VERSION),
    )


def store_ranges(path: Path, ranges: Ranges, key: CacheKey) -> None:
    """Write `ranges` with their key and a checksum, whole or not at all.

    Raises:
        InputError: the folder does not exist or cannot be written.
    """
    values = ranges.to_json()
    content = {"key": asdict(key), "checksum": _checksum(values), "ranges": values}
    write_text(path, json.dumps(content, indent=1) + "\n")


def load_ranges(path: Path, key: CacheKey, *, tensors: tuple[str, ...] = ()) -> Ranges:
    """Return the ranges kept in `path` for `key`.

    Raises:
        InputError: the file is missing, damaged, stale (says which part changed), or lacks one of
            `tensors`.
    """
    content = _read(path)
    stored = content["key"]
    changed = [
        part.name for part in fields(CacheKey) if stored.get(part.name) != getattr(key, part.name)
    ]
    if changed:
        parts = "; ".join(
            f"{name} was {_short(stored.get(name))}, is {_short(getattr(key, name))}"
            for name in changed
        )
        raise InputError(
            f"Expected ranges of this calibration, but {path} is stale ({parts}): remove it to "
            "calibrate again."
        )
    ranges = Ranges.from_json(content["ranges"])
    missing = [name for name in tensors if name not in ranges.tensors]
    if missing:
        raise InputError(
            f"Expected the range of {missing[0]!r}, but {path} does not have it: remove it to "
            "calibrate again."
        )
    return ranges


def cached_ranges(
    path: Path | None,
    key: CacheKey,
    collect: Callable[[], Ranges],
    *,
    tensors: tuple[str, ...] = (),
) -> Ranges:
    """Return the ranges in `path`, or collect them and keep them there; None keeps nothing.

    Raises:
        InputError: as `load_ranges` and `store_ranges`; a stale file is never overwritten.
    """
    if path is not None and path.exists():
        return load_ranges(path, key, tensors=tensors)
    ranges = collect()
    if path is not None:
        store_ranges(path, ranges, key)
    return ranges


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        whole = content["checksum"] == _checksum(content["ranges"])
        if whole and isinstance(content["key"], dict):
            return dict(content)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(
        f"Expected calibrated ranges, but {path} is damaged or another file: remove it to "
        "calibrate again."
    )


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _short(value: object) -> str:
    """Return a hash in its first digits, any other text as it is.

    >>> _short("a" * 64)
    'aaaaaaaaaaaa'
    """
    text = str(value)
    is_hash = len(text) == 64 and not set(text) - set("0123456789abcdef")
    return text[:12] if is_hash else text
