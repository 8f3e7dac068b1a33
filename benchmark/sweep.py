"""A sweep: latency of every candidate over input sizes, batches and thread counts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..common.errors import InputError
from ..common.files import write_text
from ..common.progress import track
from .candidate import Candidate, unique_names, with_defaults
from .environment import read_environment, segship_version
from .latency import Latency, LatencyRule, measure_latency
from .protocol import command_line, now
from .record import Environment, Samples
from .turn import Turn, open_turn

SWEEP_SCHEMA_VERSION = 1
# A cell gets fewer samples than a benchmark: a sweep shows a trend, a benchmark proves a number.
CELL_RULE = LatencyRule(rounds=7, runs=3, budget_s=20.0, warmup_runs=20, warmup_s=5.0, tail=False)


@dataclass(frozen=True)
class SweepRow:
    """One candidate in one cell; `refused` says why there is no latency."""

    name: str
    runtime: str
    precision: str
    size_px: tuple[int, int]
    batch: int
    threads: int
    latency: Samples | None = None
    images_per_s: float | None = None
    speedup: float | None = None  # first candidate's median / this median, same cell
    refused: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """All rows, cell by cell, with where and how they were measured."""

    created: str
    command: str
    segship_version: str
    environment: Environment
    latency_rule: str
    rows: tuple[SweepRow, ...]
    schema_version: int = SWEEP_SCHEMA_VERSION


def sweep(
    candidates: Sequence[Candidate],
    *,
    sizes: Sequence[tuple[int, int]] = (),
    batches: Sequence[int] = (),
    threads: Sequence[int] = (),
    rule: LatencyRule = CELL_RULE,
    progress: bool = True,
) -> Sweep:
    """Measure every candidate at every size, batch and thread count, interleaved in each cell.

    An empty axis means each candidate's own value. A static artifact gives a refused row for
    sizes and batches it does not take; dynamic ones (and checkpoints) take any.

    Raises:
        InputError: no candidate, an impossible axis value, or an artifact that cannot be opened.
    """
    chosen = with_defaults(candidates, None, None)
    _refuse_axes(sizes, batches, threads)
    environment = read_environment()
    rows: list[SweepRow] = []
    counts: Sequence[int | None] = list(threads) or [None]
    for count in track(counts, "threads", len(counts)) if progress else counts:
        asked = [item if count is None else replace(item, threads=count) for item in chosen]
        rows += _at_threads(asked, sizes, batches, rule)
    return Sweep(now(), command_line(), segship_version(), environment, rule.words(), tuple(rows))


def save_sweep(result: Sweep, path: Path) -> None:
    """Write a sweep as JSON, whole or not at all."""
    write_text(path, json.dumps(asdict(result), indent=1, allow_nan=False) + "\n")


def _at_threads(
    candidates: Sequence[Candidate],
    sizes: Sequence[tuple[int, int]],
    batches: Sequence[int],
    rule: LatencyRule,
) -> Iterator[SweepRow]:
    with ExitStack() as stack:
        turns = [open_turn(item, stack, fit=False) for item in candidates]
        used = [(turn.candidate.runtime, turn.candidate.precision) for turn in turns]
        names = unique_names(candidates, used)
        wanted_sizes: Sequence[tuple[int, int] | None] = list(sizes) or [None]
        wanted_batches: Sequence[int | None] = list(batches) or [None]
        for size, batch in itertools.product(wanted_sizes, wanted_batches):
            yield from _cell(turns, names, size, batch, rule)


def _cell(
    turns: Sequence[Turn],
    names: Sequence[str],
    size_px: tuple[int, int] | None,
    batch: int | None,
    rule: LatencyRule,
) -> list[SweepRow]:
    """Return one row per candidate; those that fit are measured interleaved."""
    fitting: dict[int, Turn] = {}
    rows: dict[int, SweepRow] = {}
    for index, turn in enumerate(turns):
        want_size = size_px or turn.candidate.size_px
        want_batch = batch or turn.candidate.batch
        try:
            fitting[index] = turn.at(want_size, want_batch)
        except InputError as error:
            shape = (want_batch, 3, *(want_size or turn.contract.size_px))
            rows[index] = replace(_row(turn, names[index], shape), refused=str(error))
    latencies = measure_latency(list(fitting.values()), rule, progress=False)
    for (index, turn), latency in zip(fitting.items(), latencies, strict=True):
        base = latencies[0] if 0 in fitting else None
        rows[index] = _measured(_row(turn, names[index], turn.input_shape), latency, base)
    return [rows[index] for index in sorted(rows)]


def _row(turn: Turn, name: str, shape: tuple[int, ...]) -> SweepRow:
    used = turn.candidate
    size = (shape[2], shape[3])
    return SweepRow(name, used.runtime, used.precision, size, shape[0], used.threads or 0)


def _measured(row: SweepRow, latency: Latency, base: Latency | None) -> SweepRow:
    median_ms = latency.samples.median_ms
    return replace(
        row,
        latency=latency.samples,
        images_per_s=1e3 * row.batch / median_ms,
        speedup=base.samples.median_ms / median_ms if base else None,
        warnings=latency.warnings,
    )


def _refuse_axes(
    sizes: Sequence[tuple[int, int]], batches: Sequence[int], threads: Sequence[int]
) -> None:
    for what, values in (
        ("sizes", [side for size in sizes for side in size]),
        ("batches", batches),
        ("thread counts", threads),
    ):
        if values and min(values) < 1:
            raise InputError(f"Expected {what} of at least 1, but got {min(values)}.")
