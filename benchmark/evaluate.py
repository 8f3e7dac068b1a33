"""Accuracy only: several candidates on one data set, no clock involved."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from ..data.contract import ResizeRule
from ..data.spec import open_dataset
from ..runtimes.open import open_session
from ..runtimes.session import Session
from .accuracy import AccuracyRule, measure_accuracy
from .assemble import Setup, base_record, with_accuracy
from .candidate import Candidate, unique_names, with_defaults
from .checks import refuse_unaveraged
from .corrupted import with_corruptions
from .environment import read_environment
from .opened import contract_at, static_batch
from .protocol import label_space, stride_px
from .record import Record
from .scoring import WHOLE_IMAGE, Scoring
from .subject import Subject
from .windows import Slide


def evaluate(
    sources: Sequence[Candidate],
    data: str,
    *,
    threads: int | None = None,
    limit: int | None = None,
    postprocess: str | None = None,
    seed: int = 0,
    examples: int = 4,
    scoring: Scoring = WHOLE_IMAGE,
    progress: bool = True,
) -> Record:
    """Return the accuracy of every candidate on `data`, measured in one pass over it.

    The first candidate is the baseline: the others get their drop with an interval, and the share
    of pixels on which they agree with it.

    Args:
        sources: the candidates; their batch does not matter here.
        data: data specification "FORMAT:PATH[@SPLIT]".
        threads: for candidates that name none; None means physical cores.
        limit: score only the first images.
        postprocess: overrides every candidate's ("sparse" or "dense-torch").
        seed: of the bootstrap.
        examples: images kept for the report.
        scoring: what is fed, where it is scored and what is averaged.
        progress: draw a bar on a terminal.

    Raises:
        InputError: wrong path, runtime, size, data or label space.
        CheckFailedError: no pixel of the data set was scored.
    """
    chosen = with_defaults(sources, threads, postprocess)
    rule = AccuracyRule(limit=limit, seed=seed, examples=examples, scoring=scoring)
    with ExitStack() as stack:
        subjects = open_subjects(chosen, stack, scoring)
        contracts = tuple(subject.contract for subject in subjects)
        dataset = open_dataset(data, contract=contracts[0])
        space = label_space(contracts, dataset)
        result = measure_accuracy(
            subjects, dataset, palette=space.palette, rule=rule, progress=progress
        )
        notes = tuple(subject.session.notes for subject in subjects)
        used = tuple(_used(item, subject) for item, subject in zip(chosen, subjects, strict=True))
        setup = Setup(used, contracts, space, read_environment(), data, dataset, notes)
        record = with_accuracy(base_record(setup, seed), contracts[0], result, rule)
        return with_corruptions(
            record, subjects, dataset, palette=space.palette, rule=rule, progress=progress
        )


def open_subjects(
    candidates: Sequence[Candidate], stack: ExitStack, scoring: Scoring = WHOLE_IMAGE
) -> list[Subject]:
    """Open every candidate in this process for as long as `stack`, with a readable name each.

    Raises:
        InputError: a candidate cannot be opened, or cannot do what the scoring asks.
    """
    sessions = [
        stack.enter_context(
            open_session(
                item.source, runtime=item.runtime, precision=item.precision, threads=item.threads
            )
        )
        for item in candidates
    ]
    names = unique_names(candidates, [(item.runtime, item.precision) for item in sessions])
    return [
        _subject(name, session, item, scoring)
        for name, session, item in zip(names, sessions, candidates, strict=True)
    ]


def _subject(name: str, session: Session, item: Candidate, scoring: Scoring) -> Subject:
    size_px = scoring.crop_px or item.size_px
    contract = contract_at(session, size_px, static_batch(session))
    refuse_unaveraged(name, contract, item.postprocess, scoring)
    plan = None
    if scoring.sliding:
        plan = Slide(contract.size_px, stride_px(scoring, contract.size_px))
        contract = replace(contract, resize=ResizeRule.NONE)
    return Subject(name, session, contract, item.postprocess, plan, scoring.flip)


def _used(item: Candidate, subject: Subject) -> Candidate:
    """Return the candidate with the name, runtime, precision and threads really used."""
    session = subject.session
    return replace(
        item,
        name=subject.name,
        runtime=session.runtime,
        precision=session.precision,
        threads=session.threads,
    )
