"""Which part may become INT8? Its loss and the time it gains where only it is quantized.

Both are measured on the built file in the runtime and precision it is meant for, not worked out
from the graph: a runtime's own mistakes are part of the price.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..calibration.sampling import choose_images
from ..common.machine import usable_cores
from ..common.progress import track
from ..data.spec import open_dataset
from ..runtimes.open import open_session
from ..runtimes.session import Session
from .environment import read_environment
from .latency import Latency, LatencyRule, measure_latency
from .local_turn import LocalTurn
from .logit_loss import LogitLoss, Reference
from .machine import busy_share, machine_warnings, read_clock
from .price import PartPrice, Sensitivity

# Writes an artifact in which one part is INT8 to a path; returns the number of INT8 nodes.
Build = Callable[[Path], int]
Way = tuple[str, str, int]  # runtime, precision and threads
# Few samples for each of some fifty parts: the table is a guide, a benchmark proves.
PART_RULE = LatencyRule(
    rounds=8, runs=3, budget_s=60.0, warmup_runs=15, warmup_s=4.0, minimum_rounds=3, tail=False
)
_GROUP = 6  # parts timed together with the float graph
_SURE = 2.0  # standard errors


def sensitivity(
    base: Path,
    parts: Mapping[str, Build],
    data: str,
    *,
    runtime: str = "onnxruntime",
    precision: str = "fp32",
    threads: int | None = None,
    images: int = 16,
    seed: int = 0,
    method: str = "",
    clock: LatencyRule | None = PART_RULE,
    progress: bool = True,
) -> Sensitivity:
    """Return the price of every part.

    Args:
        base: the float ONNX file.
        parts: part → what writes the file in which it alone is INT8, in forward order.
        data: data specification; with labels the drop of mIoU is measured as well.
        runtime: what runs the files.
        precision: what they compute in beside the quantized part, the float graph too.
        threads: None uses the physical cores.
        images: how many of `data`, chosen at random with `seed`; they are held in memory.
        seed: of the choice.
        method: how the files become INT8, in words.
        clock: how they are timed; None leaves the times out.
        progress: draw bars on a terminal.

    Raises:
        InputError: a file, runtime or the data are wrong.
    """
    count = threads or usable_cores()
    with tempfile.TemporaryDirectory(prefix="segship-parts-") as folder:
        files = {part: Path(folder) / f"{index}.onnx" for index, part in enumerate(parts)}
        nodes = {part: build(files[part]) for part, build in parts.items()}
        losses = _losses(base, files, data, (runtime, precision, count), images, seed, progress)
        rows = [_row(part, nodes[part], loss) for part, loss in losses.items()]
        warnings: tuple[str, ...] = ()
        if clock is not None:
            rows, warnings = _timed(base, files, rows, (runtime, precision, count), clock, progress)
    return Sensitivity(
        artifact=base.name,
        data=data,
        images=next(iter(losses.values())).images if losses else 0,
        runtime=runtime,
        precision=precision,
        threads=count,
        method=method,
        latency_rule=_words(clock) if clock else "",
        rows=tuple(rows),
        warnings=warnings,
    )


def doubtful(a: Latency, b: Latency) -> bool:
    """Say whether the difference of two medians lies within their noise.

    The standard error of a median of n normal values is 1.25 σ/√n, and σ is 0.74 of the
    interquartile range.
    """
    errors = [0.93 * i.samples.iqr_ms / len(i.samples.samples_ms) ** 0.5 for i in (a, b)]
    gap = abs(a.samples.median_ms - b.samples.median_ms)
    return bool(gap < _SURE * (errors[0] ** 2 + errors[1] ** 2) ** 0.5)


def time_together(files: Sequence[Path], how: Way, rule: LatencyRule) -> list[Latency]:
    """Return the latency of every file, interleaved in this process."""
    with ExitStack() as stack:
        turns = [LocalTurn(stack.enter_context(_session(path, how))) for path in files]
        return measure_latency(turns, rule, progress=False)


def _losses(
    base: Path,
    files: Mapping[str, Path],
    data: str,
    how: Way,
    images: int,
    seed: int,
    progress: bool,
) -> dict[str, LogitLoss]:
    with _session(base, how) as session:
        dataset = open_dataset(data, contract=session.contract)
        chosen = choose_images(len(dataset), images, seed=seed)
        reference = Reference(session, dataset, chosen)
    found = {}
    for part, path in track(files.items(), "loss", len(files)) if progress else files.items():
        with _session(path, how) as session:
            found[part] = reference.loss(session)
    return found


def _session(path: Path, how: Way) -> Session:
    runtime, precision, threads = how
    return open_session(path, runtime=runtime, precision=precision, threads=threads)


def _row(part: str, nodes: int, loss: LogitLoss) -> PartPrice:
    return PartPrice(part, nodes, loss.mse, loss.kl, loss.disagreement, loss.miou_drop)


def _timed(
    base: Path,
    files: Mapping[str, Path],
    rows: Sequence[PartPrice],
    how: Way,
    rule: LatencyRule,
    progress: bool,
) -> tuple[list[PartPrice], tuple[str, ...]]:
    """Return the rows with their times, and what the machine did meanwhile."""
    environment, busy = read_environment(), busy_share()
    start, found = read_clock([os.getpid()]), list[PartPrice]()
    groups = list(_grouped(rows))
    for group in track(groups, "latency", len(groups)) if progress else groups:
        paths = [base, *(files[row.part] for row in group)]
        first, *others = time_together(paths, how, rule)
        for row, latency in zip(group, others, strict=True):
            median_ms = latency.samples.median_ms
            saved_ms = first.samples.median_ms - median_ms
            unsure = doubtful(first, latency)
            found.append(replace(row, latency_ms=median_ms, saved_ms=saved_ms, doubtful=unsure))
    return found, machine_warnings(environment, busy, start, read_clock([os.getpid()]))


def _grouped(rows: Iterable[PartPrice]) -> Iterable[list[PartPrice]]:
    waiting = iter(rows)
    while group := list(itertools.islice(waiting, _GROUP)):
        yield group


def _words(rule: LatencyRule) -> str:
    return (
        f"{_GROUP} parts and the float graph interleaved in one process, up to {rule.rounds} "
        f"rounds of {rule.runs} runs after warm-up; medians"
    )
