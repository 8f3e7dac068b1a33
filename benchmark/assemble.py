"""A record grows: first what is measured, then times, memory and accuracy, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..data.contract import Contract
from ..data.dataset import Dataset
from .accuracy import AccuracyResult, AccuracyRule
from .candidate import Candidate
from .environment import segship_version
from .identity import identify
from .latency import Latency, LatencyRule
from .ledger import ledger
from .protocol import (
    LabelSpace,
    bootstrap_words,
    class_warnings,
    command_line,
    evaluation_words,
    now,
)
from .record import ColdStart, Environment, Frame, Measurement, Memory, Protocol, Record
from .samples import sample_warnings


@dataclass(frozen=True)
class Setup:
    """What is measured where: candidates named and resolved (the baseline first), contracts, data.

    `data` is the specification as given, "" without a data set; `notes` are each session's own.
    """

    candidates: tuple[Candidate, ...]
    contracts: tuple[Contract, ...]
    space: LabelSpace
    environment: Environment
    data: str = ""
    dataset: Dataset | None = None
    notes: tuple[tuple[str, ...], ...] = ()


def base_record(setup: Setup, seed: int) -> Record:
    """Return the record without a number in it."""
    notes = setup.notes or ((),) * len(setup.candidates)
    rows = zip(setup.candidates, setup.contracts, notes, strict=True)
    found = ((identify(item, contract), said) for item, contract, said in rows)
    return Record(
        created=now(),
        command=command_line(),
        segship_version=segship_version(),
        environment=setup.environment,
        protocol=_empty_protocol(setup, seed),
        baseline=setup.candidates[0].name,
        measurements=tuple(replace(item, warnings=item.warnings + said) for item, said in found),
        classes=setup.space.classes,
        palette=setup.space.palette,
        warnings=class_warnings(setup.contracts, setup.space.classes),
    )


def with_times(
    record: Record,
    latencies: Sequence[Latency],
    frames: Sequence[Frame | None],
    rule: LatencyRule,
    warnings: tuple[str, ...],
) -> Record:
    """Add latencies and frames, one per measurement, and the speed-ups over the first."""
    rows = zip(record.measurements, latencies, frames, strict=True)
    return replace(
        record,
        protocol=replace(record.protocol, latency_rule=rule.words()),
        measurements=tuple(
            _timed(item, latency, frame, latencies[0], frames[0]) for item, latency, frame in rows
        ),
        warnings=record.warnings + warnings,
    )


def with_fresh(record: Record, fresh: Sequence[tuple[ColdStart, Memory]]) -> Record:
    """Add cold start and memory, one pair per measurement."""
    rows = zip(record.measurements, fresh, strict=True)
    return replace(
        record,
        measurements=tuple(
            replace(item, cold_start=cold, memory=memory) for item, (cold, memory) in rows
        ),
    )


def with_accuracy(
    record: Record, contract: Contract, result: AccuracyResult, rule: AccuracyRule
) -> Record:
    """Add accuracies and depths, one per measurement, and the examples.

    `contract` is the baseline's, as the accuracy used it.
    """
    rows = zip(record.measurements, result.accuracies, result.depths, strict=True)
    compared = any(item and item.drop for item in result.accuracies)
    words = evaluation_words(contract, rule.scoring, record.classes, depth=any(result.depths))
    protocol = replace(
        record.protocol,
        images=result.images,
        evaluation="; ".join([words, *result.data_notes]),
        bootstrap=bootstrap_words(rule.replicates) if compared else "",
    )
    measured = tuple(
        replace(item, accuracy=accuracy, depth=depth) for item, accuracy, depth in rows
    )
    return replace(
        record,
        protocol=protocol,
        measurements=measured,
        ledger=ledger(measured, record.baseline),
        examples=result.examples,
        warnings=record.warnings + result.notes,
    )


def _empty_protocol(setup: Setup, seed: int) -> Protocol:
    first = setup.candidates[0]
    return Protocol(
        data=setup.data,
        images=0,
        data_sha256=setup.dataset.digest() if setup.dataset else "",
        evaluation="",
        batch=first.batch,
        threads=first.threads or 0,
        latency_rule="",
        bootstrap="",
        seed=seed,
    )


def _timed(
    item: Measurement,
    latency: Latency,
    frame: Frame | None,
    base: Latency,
    base_frame: Frame | None,
) -> Measurement:
    warnings = latency.warnings
    if frame is not None:
        warnings += sample_warnings("Frame", frame.total, tail=False)
    frame_speedup = None
    if frame is not None and base_frame is not None:
        frame_speedup = base_frame.total.median_ms / frame.total.median_ms
    return replace(
        item,
        latency=latency.samples,
        speedup=base.samples.median_ms / latency.samples.median_ms,
        frame=frame,
        frame_speedup=frame_speedup,
        device_times=latency.device,
        warnings=item.warnings + warnings,
    )
