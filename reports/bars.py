"""Geometry of the horizontal bars and histograms; every row is drawn in a box of its own.

Lengths are per cent of the box's width, so that a bar is as wide as the page allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..benchmark.record import ColdStart, Frame, Measurement, Memory, Record, Samples
from .format import mebibytes, milliseconds, plural, ratio

_BINS = 72
_WIDEST_RATIO = 2.0  # samples slower than twice the median share the last bin


@dataclass(frozen=True)
class Segment:
    """A stretch of a bar: `start` and `length` in per cent, `tone` names its colour."""

    tone: str
    label: str
    start: float
    length: float
    text: str


@dataclass(frozen=True)
class BarRow:
    """One measurement's bar, its total, and a note such as the speed-up."""

    key: int
    name: str
    baseline: bool
    segments: tuple[Segment, ...]
    total: str
    note: str


@dataclass(frozen=True)
class Bars:
    """Bars on one scale; `legend` is (tone, label) in drawing order, `unit` that of every text."""

    unit: str
    legend: tuple[tuple[str, str], ...]
    rows: tuple[BarRow, ...]


@dataclass(frozen=True)
class HistogramRow:
    """How one measurement's samples spread around their own median.

    `heights` has one value per bin in 0..1; `marks` are (name, place in per cent, text).
    """

    key: int
    name: str
    baseline: bool
    heights: tuple[float, ...]
    marks: tuple[tuple[str, float, str], ...]
    samples: str
    iqr: str


@dataclass(frozen=True)
class Histograms:
    """Histograms on one relative scale from `low` to `high` times the median."""

    low: str
    high: str
    clipped: bool
    rows: tuple[HistogramRow, ...]


Parts = list[tuple[str, str, float]]  # (tone, label, amount)
Reader = Callable[[Measurement], "tuple[Parts, float, str] | None"]  # parts, total, note


def frame_bars(record: Record) -> Bars | None:
    """Lay out where a frame's time goes, or return None where no frame was timed."""
    return _bars(record, _frame, "ms", milliseconds)


def memory_bars(record: Record) -> Bars | None:
    """Lay out the peak memory of each fresh process, or return None without any."""
    return _bars(record, _memory, "MiB", mebibytes)


def cold_start_bars(record: Record) -> Bars | None:
    """Lay out what the first result of a process costs, or return None without any."""
    return _bars(record, _cold_start, "ms", milliseconds)


def _frame(item: Measurement) -> tuple[Parts, float, str] | None:
    frame: Frame | None = item.frame
    if frame is None:
        return None
    parts = [
        ("light", "decode", frame.decode.median_ms),
        ("middle", "preprocess", frame.preprocess.median_ms),
        ("accent", "inference", frame.inference.median_ms),
        ("dark", "post-process", frame.postprocess_time.median_ms),
    ]
    note = f"{frame.postprocess} post-processing"
    if item.frame_speedup is not None:
        note = f"{ratio(item.frame_speedup)}, {note}"
    return parts, frame.total.median_ms, note


def _memory(item: Measurement) -> tuple[Parts, float, str] | None:
    memory: Memory | None = item.memory
    if memory is None:
        return None
    before = min(memory.before_mib, memory.peak_mib)
    parts = [
        ("light", "process before opening", before),
        ("accent", "artifact opened and run", memory.peak_mib - before),
    ]
    return parts, memory.peak_mib, f"file {mebibytes(memory.file_mib)} MiB"


def _cold_start(item: Measurement) -> tuple[Parts, float, str] | None:
    cold: ColdStart | None = item.cold_start
    if cold is None:
        return None
    parts = [
        ("light", "import", cold.import_ms),
        ("middle", "open", cold.open_ms),
        ("accent", "first run", cold.first_run_ms),
    ]
    return parts, cold.import_ms + cold.open_ms + cold.first_run_ms, ""


def _bars(record: Record, read: Reader, unit: str, write: Callable[[float], str]) -> Bars | None:
    found = [(key, item, read(item)) for key, item in enumerate(record.measurements, 1)]
    parts = [(key, item, got) for key, item, got in found if got is not None]
    if not parts:
        return None
    longest = max(max(total, sum(p[2] for p in of)) for _, _, (of, total, _) in parts)
    rows = [
        BarRow(
            key,
            item.name,
            item.name == record.baseline,
            tuple(_segments(of, longest, write)),
            write(total),
            note,
        )
        for key, item, (of, total, note) in parts
    ]
    legend = tuple((tone, label) for tone, label, _ in parts[0][2][0])
    return Bars(unit, legend, tuple(rows))


def _segments(parts: Parts, longest: float, write: Callable[[float], str]) -> Iterator[Segment]:
    start = 0.0
    for tone, label, amount in parts:
        length = 100 * max(amount, 0.0) / longest if longest > 0 else 0.0
        yield Segment(tone, label, start, length, write(amount))
        start += length


def histograms(record: Record) -> Histograms | None:
    """Lay out the spread of the inference times, or return None where none was sampled."""
    found = [
        (key, item, item.latency)
        for key, item in enumerate(record.measurements, 1)
        if item.latency and item.latency.samples_ms and item.latency.median_ms > 0
    ]
    if not found:
        return None
    low = min(min(s.samples_ms) / s.median_ms for _, _, s in found)
    high = max(max(s.samples_ms) / s.median_ms for _, _, s in found)
    low, top = min(low, 0.95), min(max(high, 1.05), _WIDEST_RATIO)
    rows = tuple(
        HistogramRow(
            key,
            item.name,
            item.name == record.baseline,
            _heights([sample / times.median_ms for sample in times.samples_ms], low, top),
            tuple(_marks(times, low, top)),
            plural(len(times.samples_ms), "sample"),
            milliseconds(times.iqr_ms),
        )
        for key, item, times in found
    )
    return Histograms(ratio(low), ratio(top), high > _WIDEST_RATIO, rows)


def _heights(ratios: Sequence[float], low: float, high: float) -> tuple[float, ...]:
    """Count ratios in equal bins and scale the fullest to 1; what lies beyond is in the last."""
    counts = [0] * _BINS
    for value in ratios:
        place = int((value - low) / (high - low) * _BINS)
        counts[min(max(place, 0), _BINS - 1)] += 1
    fullest = max(counts)
    return tuple(count / fullest for count in counts)


def _marks(times: Samples, low: float, high: float) -> Iterator[tuple[str, float, str]]:
    for name, value in (
        ("median", times.median_ms),
        ("p90", times.p90_ms),
        ("p99", times.p99_ms),
    ):
        place = (value / times.median_ms - low) / (high - low)
        yield name, 100 * min(max(place, 0.0), 1.0), milliseconds(value)
