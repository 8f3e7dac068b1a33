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
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

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
_SURE = 2.5  # standard errors; of eight rounds, 19 of 20 differences of equals lie within 2.4


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


@dataclass(frozen=True)
class Gain:
    """What one file gains over another, from the rounds both took part in.

    Medians over the rounds: `saved_ms` of the differences, `speedup` of the ratios. A machine
    that is slow in one round is slow for both, so that drift cancels. `doubtful`: the mean
    difference is less than `_SURE` of its standard errors.
    """

    saved_ms: float
    speedup: float
    doubtful: bool


def gain(base: Latency, other: Latency, runs: int) -> Gain:
    """Return what `other` gains over `base`; both were sampled in rounds of `runs` runs.

    The quickest run of a round stands for it: what disturbs a run only makes it longer.
    """
    first, second = (
        np.array(item.samples.samples_ms).reshape(-1, runs).min(axis=1) for item in (base, other)
    )
    saved_ms = first - second
    error_ms = float(saved_ms.std(ddof=1)) / len(saved_ms) ** 0.5 if len(saved_ms) > 1 else np.inf
    return Gain(
        saved_ms=float(np.median(saved_ms)),
        speedup=float(np.median(first / second)),
        doubtful=bool(abs(saved_ms.mean()) <= _SURE * error_ms),
    )


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
        for price, latency in zip(group, others, strict=True):
            median_ms = latency.samples.median_ms
            won = gain(first, latency, rule.runs)
            row = replace(price, latency_ms=median_ms, saved_ms=won.saved_ms)
            found.append(replace(row, doubtful=won.doubtful))
    return found, machine_warnings(environment, busy, start, read_clock([os.getpid()]))


def _grouped(rows: Iterable[PartPrice]) -> Iterable[list[PartPrice]]:
    waiting = iter(rows)
    while group := list(itertools.islice(waiting, _GROUP)):
        yield group


def _words(rule: LatencyRule) -> str:
    return (
        f"{_GROUP} parts and the float graph interleaved in one process, up to {rule.rounds} "
        f"rounds of {rule.runs} runs after warm-up; what a part saves is the median over the rounds"
    )
