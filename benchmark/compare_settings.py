"""What differs between two records besides their numbers, and what forbids ranking them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .record import Measurement, Record

_SHORT = 16  # hexadecimal digits of a hash that are shown
_GPU = ("name", "sm", "driver")  # of the GPU: what it is, and what runs it


@dataclass(frozen=True)
class Change:
    """One setting with its value in the old and in the new record."""

    what: str
    old: str
    new: str


def run_changes(old: Record, new: Record) -> tuple[Change, ...]:
    """Return what differs in command, version, protocol and environment."""
    pairs = [
        ("command", old.command, new.command),
        ("segship", old.segship_version, new.segship_version),
        ("baseline", old.baseline, new.baseline),
        ("classes", ", ".join(old.classes), ", ".join(new.classes)),
    ]
    protocols = (asdict(old.protocol), asdict(new.protocol))
    pairs += [
        (name.replace("_", " "), value, protocols[1][name]) for name, value in _each(*protocols)
    ]
    return (*_differing(pairs), *_environment(old, new))


def measurement_changes(old: Measurement, new: Measurement) -> tuple[Change, ...]:
    """Return what differs between two measurements: artifact, runtime, contract, lineage."""
    names = "path sha256 kind runtime precision threads batch input_shape parameters gmacs".split()
    pairs = [(name.replace("_", " "), getattr(old, name), getattr(new, name)) for name in names]
    for part in ("contract", "lineage"):
        before, after = _flat(getattr(old, part)), _flat(getattr(new, part))
        keys = sorted(before.keys() | after.keys())
        pairs += [(f"{part} {key}", before.get(key), after.get(key)) for key in keys]
    return tuple(_differing(pairs))


def time_barriers(old: Record, new: Record) -> tuple[str, ...]:
    """Return why times and memory of these records are not ranked; () where they may be."""
    first, second = old.environment, new.environment
    found = []
    if first.host_id != second.host_id:
        found.append(f"different hosts ({first.host_id}, {second.host_id})")
    gpus = [
        [getattr(item.gpu, name) for name in _GPU] if item.gpu else [] for item in (first, second)
    ]
    if gpus[0][:2] != gpus[1][:2]:
        found.append("different GPUs")
    if old.protocol.latency_rule != new.protocol.latency_rule:
        found.append("different latency rules")
    return tuple(found)


def accuracy_barriers(old: Record, new: Record) -> tuple[str, ...]:
    """Return why accuracies of these records are not ranked; () where they may be."""
    first, second = old.protocol, new.protocol
    found = []
    if not first.data_sha256 or first.data_sha256 != second.data_sha256:
        found.append(f"different data ({first.data or 'none'}, {second.data or 'none'})")
    if first.images != second.images:
        found.append(f"different numbers of images ({first.images}, {second.images})")
    if first.evaluation != second.evaluation:
        found.append("different evaluation protocols")
    if old.classes != new.classes:
        found.append("different classes")
    return tuple(found)


def shape_barriers(old: Measurement, new: Measurement) -> tuple[str, ...]:
    """Return why the times of these two measurements are not ranked."""
    found = []
    for what in ("input_shape", "threads", "batch"):
        before, after = getattr(old, what), getattr(new, what)
        if before != after:
            found.append(f"different {what.replace('_', ' ')} ({_text(before)}, {_text(after)})")
    return tuple(found)


def _environment(old: Record, new: Record) -> Iterator[Change]:
    first, second = asdict(old.environment), asdict(new.environment)
    for name in ("libraries", "gpu"):
        before, after = first.pop(name) or {}, second.pop(name) or {}
        keys = [key for key in sorted(before.keys() | after.keys()) if name != "gpu" or key in _GPU]
        label = "GPU " if name == "gpu" else ""
        yield from _differing((label + key, before.get(key), after.get(key)) for key in keys)
    yield from _differing(
        (name.replace("_", " "), value, second[name]) for name, value in first.items()
    )


def _each(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in old.items() if name in new]


def _differing(pairs: Any) -> Iterator[Change]:
    for what, old, new in pairs:
        if old != new:
            yield Change(what, _text(old), _text(new))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings with dotted names; lists stay whole."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _text(value: Any) -> str:
    """Write a setting; "–" where a record has none."""
    if value is None or value == "":
        return "–"
    if isinstance(value, (tuple, list)):
        return ", ".join(_text(item) for item in value) or "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_text(item)}" for key, item in value.items())
    text = str(value)
    is_hash = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:_SHORT] if is_hash else text
