"""What no measurement gives: a record that reads well and cannot be one."""

from __future__ import annotations

from collections import Counter

from .record import Accuracy, Measurement, Memory, Record


def refuse_impossible(record: Record) -> None:
    """Refuse a record whose parts contradict each other.

    Raises:
        ValueError: what is wrong, in a few words.
    """
    names = Counter(item.name for item in record.measurements)
    if not names:
        raise ValueError("it holds no measurement")
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(f"two measurements are called {twice[0]!r}")
    if record.baseline not in names:
        raise ValueError(f"its baseline {record.baseline!r} is no measurement of it")
    for item in record.measurements:
        _refuse_measurement(item)


def _refuse_measurement(item: Measurement) -> None:
    if item.accuracy:
        _refuse_accuracy(item.accuracy, item.name)
    if item.memory and min(_amounts(item.memory)) < 0:
        raise ValueError(f"{item.name!r} takes less than no memory")
    passes = item.lineage.get("passes") or []
    if not isinstance(passes, list) or not all(isinstance(row, dict) for row in passes):
        raise ValueError(f"the passes of {item.name!r} are no list of passes")


def _refuse_accuracy(accuracy: Accuracy, name: str) -> None:
    table = accuracy.confusion
    if any(len(row) != len(table) or min(row) < 0 for row in table):
        raise ValueError(f"the confusion matrix of {name!r} is no square of pixel counts")


def _amounts(memory: Memory) -> tuple[float, ...]:
    return (memory.file_mib, memory.device_mib or 0.0, memory.peak_mib, *memory.peaks_mib)
