"""The table of measurements: one definition that every format renders.

A group of columns is shown where at least one measurement holds its part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..benchmark.record import Accuracy, Frame, Measurement, Memory, Record, Samples
from .column import Column, Group
from .device_columns import device_group
from .format import ABSENT, agreement, interval, mebibytes, milliseconds, percent, points, ratio
from .further_columns import depth_group, further_group

APART = (
    "Further accuracy",
    "Depth",
    "Device",
)  # groups that would make one table wider than a page


def groups(record: Record) -> tuple[Group, ...]:
    """Return the groups of columns `record` has values for, in reading order."""
    items = record.measurements
    shown = [_ARTIFACT]
    if any(item.accuracy for item in items):
        shown.append(_ACCURACY)
    further = (further_group(items), depth_group(items), device_group(items))
    shown += [group for group in further if group.columns]
    if any(item.latency for item in items):
        shown.append(_INFERENCE)
    if any(item.frame for item in items):
        shown.append(_FRAME)
    if any(item.memory for item in items):
        shown.append(_MEMORY)
    return tuple(shown)


def tables(record: Record) -> tuple[tuple[Group, ...], ...]:
    """Return the groups as tables that fit a page: the main one, then one per further group."""
    shown = groups(record)
    apart = tuple(group for group in shown if group.heading in APART)
    main = tuple(group for group in shown if group not in apart)
    named = replace(shown[0], columns=shown[0].columns[:1])
    return (main, *((named, group) for group in apart))


def drop_text(item: Measurement) -> str:
    """Write the mIoU drop in points with its interval, or "–".

    The interval's confidence is in the record's protocol and in every headline.
    """
    drop = item.accuracy.drop if item.accuracy else None
    return f"{points(drop.miou)} {interval(drop.low, drop.high)}" if drop else ABSENT


def all_warnings(record: Record) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the warnings of the whole run (under "whole run") and of each measurement by name."""
    named = [("whole run", record.warnings)]
    named += [(item.name, item.warnings) for item in record.measurements]
    return tuple((name, texts) for name, texts in named if texts)


def _of_accuracy(write: Callable[[Accuracy], str]) -> Callable[[Measurement], str]:
    return lambda item: write(item.accuracy) if item.accuracy else ABSENT


def _of_latency(write: Callable[[Samples], str]) -> Callable[[Measurement], str]:
    return lambda item: write(item.latency) if item.latency else ABSENT


def _of_frame(write: Callable[[Frame], str]) -> Callable[[Measurement], str]:
    return lambda item: write(item.frame) if item.frame else ABSENT


def _of_memory(write: Callable[[Memory], str]) -> Callable[[Measurement], str]:
    return lambda item: write(item.memory) if item.memory else ABSENT


_ARTIFACT = Group(
    "Artifact",
    (
        Column("name", lambda item: item.name),
        Column("runtime", lambda item: item.runtime),
        Column("precision", lambda item: item.precision),
    ),
)
_ACCURACY = Group(
    "Accuracy",
    (
        Column("mIoU", _of_accuracy(lambda accuracy: percent(accuracy.miou)), "%"),
        Column("drop", drop_text, "points"),
        Column("agreement", _of_accuracy(lambda value: agreement(value.pixel_agreement)), "%"),
    ),
)
_INFERENCE = Group(
    "Inference",
    (
        Column("median", _of_latency(lambda latency: milliseconds(latency.median_ms)), "ms"),
        Column("p90", _of_latency(lambda latency: milliseconds(latency.p90_ms)), "ms"),
        Column("p99", _of_latency(lambda latency: milliseconds(latency.p99_ms)), "ms"),
        Column("speed-up", lambda item: ratio(item.speedup), "×"),
    ),
)
_FRAME = Group(
    "Frame",
    (
        Column("median", _of_frame(lambda frame: milliseconds(frame.total.median_ms)), "ms"),
        Column("speed-up", lambda item: ratio(item.frame_speedup), "×"),
    ),
)
_MEMORY = Group(
    "Memory",
    (
        Column("peak", _of_memory(lambda memory: mebibytes(memory.peak_mib)), "MiB"),
        Column("file", _of_memory(lambda memory: mebibytes(memory.file_mib)), "MiB"),
    ),
)
