"""Columns for what a GPU says of itself: its own times, and the memory taken on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..benchmark.record import DeviceTimes, Measurement
from .column import Column, Group
from .format import ABSENT, mebibytes, milliseconds


def device_group(items: Sequence[Measurement]) -> Group:
    """Return the medians of the device's steps and its memory, where any measurement holds them."""
    columns: list[Column] = []
    if any(item.device_times for item in items):
        columns += _STEPS
    if any(_memory_mib(item) is not None for item in items):
        columns.append(Column("device memory", _memory, "MiB"))
    return Group("Device", tuple(columns))


def _median(name: str) -> Callable[[Measurement], str]:
    def write(item: Measurement) -> str:
        times: DeviceTimes | None = item.device_times
        return milliseconds(getattr(times, name).median_ms) if times else ABSENT

    return write


def _memory_mib(item: Measurement) -> float | None:
    return item.memory.device_mib if item.memory else None


def _memory(item: Measurement) -> str:
    taken = _memory_mib(item)
    return ABSENT if taken is None else mebibytes(taken)


_STEPS = (
    Column("device compute", _median("compute"), "ms"),
    Column("to device", _median("h2d"), "ms"),
    Column("from device", _median("d2h"), "ms"),
)
