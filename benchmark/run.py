"""The benchmark: accuracy, latency, frames, memory and cold start of candidates → one record."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.files import existing_path
from ..data.dataset import Dataset
from ..data.spec import open_dataset
from .accuracy import AccuracyRule, measure_accuracy
from .assemble import Setup, base_record, with_accuracy, with_fresh, with_times
from .candidate import Candidate, resolve_baseline, unique_names, with_defaults
from .checks import refuse_missing_truth, refuse_unaveraged, refuse_unknown_classes
from .corrupted import with_corruptions
from .environment import read_environment
from .evaluate import evaluate, open_subjects
from .latency import Latency, LatencyRule, measure_frames, measure_latency
from .machine import busy_share, machine_warnings, read_clock
from .memory import measure_all_fresh
from .protocol import label_space
from .record import Environment, Frame, Record
from .scoring import WHOLE_IMAGE, Scoring
from .turn import Turn, open_turn

_SEVERAL_RUNS = (
    "The accuracy took several runs per image (windows or a mirrored image); the times are those "
    "of one run, and of whole frames without either."
)


@dataclass(frozen=True)
class _Timed:
    """What the live workers measured, one entry per candidate; frames are None without an image."""

    latencies: list[Latency]
    frames: list[Frame | None]
    warnings: tuple[str, ...]


def benchmark(
    candidates: Sequence[Candidate],
    data: str | None = None,
    *,
    baseline: str | None = None,
    threads: int | None = None,
    postprocess: str | None = None,
    rounds: int = 20,
    runs: int = 5,
    budget_s: float = 40.0,
    starts: int = 3,
    frame_image: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    examples: int = 4,
    latency_only: bool = False,
    accuracy_only: bool = False,
    scoring: Scoring = WHOLE_IMAGE,
    progress: bool = True,
) -> Record:
    """Measure every candidate and return the record; nothing is written.

    Order: latency and frames, interleaved over live worker processes, while the machine is still
    quiet; memory and cold start in fresh processes; accuracy last, in this process. No child
    outlives the call, Ctrl-C included.

    Args:
        candidates: what to measure; the baseline is the first, or `baseline`.
        data: data specification "FORMAT:PATH[@SPLIT]"; None leaves accuracy and frames out.
        baseline: name or source of a candidate, or another artifact to measure as well.
        threads: for candidates that name none; None means physical cores.
        postprocess: overrides every candidate's ("sparse" or "dense-torch").
        rounds: interleaved rounds of `runs` runs each.
        runs: runs of one candidate per round.
        budget_s: bounds the latency rounds of all candidates together, in seconds.
        starts: fresh processes per candidate for memory and cold start; 0 leaves both out.
        frame_image: the image file whole frames start from; None takes the data set's first.
        limit: score only the first images.
        seed: of the synthetic pixels and the bootstrap.
        examples: images kept for the report.
        latency_only: leave accuracy out.
        accuracy_only: leave every clock out; the same as `evaluate`.
        scoring: how the accuracy is measured, as in `evaluate`.
        progress: draw bars on a terminal.

    Raises:
        InputError: wrong path, runtime, size, data or label space.
        CheckFailedError: a worker died or took too long.
    """
    chosen = with_defaults(resolve_baseline(candidates, baseline), threads, postprocess)
    rule = AccuracyRule(limit=limit, seed=seed, examples=examples, scoring=scoring)
    if accuracy_only:
        if data is None or latency_only:
            raise InputError("Expected a data set, and accuracy only or latency only, not both.")
        shared: dict[str, Any] = {"limit": limit, "seed": seed, "examples": examples}
        return evaluate(chosen, data, scoring=scoring, progress=progress, **shared)
    if data is None or latency_only:
        _refuse_scoring(scoring)
    clock = LatencyRule(rounds=rounds, runs=runs, budget_s=budget_s, seed=seed)
    measured = None if latency_only else scoring
    setup, timed = _time(chosen, data, frame_image, clock, progress, measured)
    record = base_record(setup, seed)
    record = with_times(record, timed.latencies, timed.frames, clock, timed.warnings)
    if starts > 0:
        record = with_fresh(record, measure_all_fresh(setup.candidates, starts, progress=progress))
    if setup.dataset is None or latency_only:
        return record
    return _score(record, setup, setup.dataset, rule, progress)


def _refuse_scoring(scoring: Scoring) -> None:
    if scoring != WHOLE_IMAGE:
        raise InputError(
            "Expected a data set for a protocol of accuracy, but only the latency is measured: "
            "add --data, or leave out --protocol, --flip, --at, --level, --exclude, --boundary "
            "and --corruptions."
        )


def _time(
    chosen: Sequence[Candidate],
    data: str | None,
    frame_image: Path | None,
    rule: LatencyRule,
    progress: bool,
    scoring: Scoring | None,
) -> tuple[Setup, _Timed]:
    """Open everything, so that what is wrong is said before minutes pass, then measure times."""
    environment, busy = read_environment(), busy_share()
    with ExitStack() as stack:
        turns = [open_turn(item, stack) for item in chosen]
        setup = _setup(turns, chosen, data, environment)
        if setup.dataset is not None and scoring is not None:
            _refuse_unfit(turns, setup, setup.dataset, scoring)
        frame = _frame_file(frame_image, setup.dataset)
        pids = [os.getpid(), *(turn.worker.pid for turn in turns)]
        start = read_clock(pids)
        latencies = measure_latency(turns, rule, progress=progress)
        frames: list[Frame | None] = [None for _ in turns]
        if frame is not None:
            name, image = frame
            frames = measure_frames(turns, image, name, rule, progress=progress)
        warnings = machine_warnings(environment, busy, start, read_clock(pids))
        setup = replace(setup, notes=tuple(turn.notes() for turn in turns))
    return setup, _Timed(latencies, frames, warnings)


def _setup(
    turns: Sequence[Turn], chosen: Sequence[Candidate], data: str | None, environment: Environment
) -> Setup:
    used = [turn.candidate for turn in turns]
    names = unique_names(chosen, [(item.runtime, item.precision) for item in used])
    contracts = tuple(turn.contract for turn in turns)
    dataset = open_dataset(data, contract=contracts[0]) if data is not None else None
    return Setup(
        candidates=tuple(replace(item, name=name) for item, name in zip(used, names, strict=True)),
        contracts=contracts,
        space=label_space(contracts, dataset),
        environment=environment,
        data=data or "",
        dataset=dataset,
    )


def _refuse_unfit(turns: Sequence[Turn], setup: Setup, dataset: Dataset, scoring: Scoring) -> None:
    """Refuse now what the accuracy would refuse after the clocks."""
    refuse_missing_truth(setup.contracts, dataset)
    refuse_unknown_classes(setup.contracts, dataset, scoring)
    for turn, item in zip(turns, setup.candidates, strict=True):
        refuse_unaveraged(item.name, turn.contract, item.postprocess, scoring)
        if scoring.crop_px:
            turn.at(scoring.crop_px, item.batch)


def _score(
    record: Record, setup: Setup, dataset: Dataset, rule: AccuracyRule, progress: bool
) -> Record:
    with ExitStack() as stack:
        subjects = open_subjects(setup.candidates, stack, rule.scoring)
        result = measure_accuracy(
            subjects, dataset, palette=setup.space.palette, rule=rule, progress=progress
        )
        scored = with_accuracy(record, subjects[0].contract, result, rule)
        scored = with_corruptions(
            scored,
            subjects,
            dataset,
            palette=setup.space.palette,
            rule=rule,
            progress=progress,
        )
    if not (rule.scoring.sliding or rule.scoring.flip):
        return scored
    return replace(scored, warnings=(*scored.warnings, _SEVERAL_RUNS))


def _frame_file(path: Path | None, dataset: Dataset | None) -> tuple[str, bytes] | None:
    """Return the name and bytes of the image frames start from, None without one."""
    if path is not None:
        return path.name, existing_path(path, "an image file").read_bytes()
    data = dataset.image_bytes(0) if dataset is not None else None
    if dataset is None or data is None:
        return None
    sample = dataset.sample(0)
    return (sample.image_path.name if sample.image_path else sample.name), data
