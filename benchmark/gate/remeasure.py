"""Baseline and candidate once more, in turns: what decides about times of two records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...common.errors import InputError
from ...runtimes.open import load_artifact
from ..candidate import Candidate
from ..record import Measurement
from ..run import benchmark
from .pairing import Pair


def remeasure(pair: Pair, *, rounds: int = 20, progress: bool = True) -> Pair:
    """Time both artifacts where their records say they lie; every other number stays.

    Raises:
        InputError: a file is gone, or is not the one that was measured.
        CheckFailedError: a worker died.
    """
    both = (pair.base[0], pair.other[0])
    sources = [
        replace(_candidate(item), name=name)
        for item, name in zip(both, ("baseline", "candidate"), strict=True)
    ]
    return replace(pair, retimed=benchmark(sources, rounds=rounds, starts=0, progress=progress))


def _candidate(item: Measurement) -> Candidate:
    known = load_artifact(Path(item.path)).sha256 if Path(item.path).exists() else None
    if known != item.sha256:
        state = "another file lies there" if known else "it is not there"
        raise InputError(
            f"Expected the artifact of {item.name!r} at {item.path} to measure it again, but "
            f"{state}: put it there, or measure both in one run."
        )
    size_px = (item.input_shape[2], item.input_shape[3])
    return Candidate(
        source=item.path,
        runtime=item.runtime,
        precision=item.precision,
        threads=item.threads,
        batch=item.batch,
        size_px=size_px,
    )
