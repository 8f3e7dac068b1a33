"""Build and measure the graphs a search asks for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...benchmark.candidate import Candidate
from ...benchmark.environment import read_environment
from ...benchmark.evaluate import evaluate
from ...benchmark.latency import LatencyRule
from ...benchmark.machine import busy_share, machine_warnings, read_clock
from ...benchmark.price import Sensitivity, Trial
from ...benchmark.sensitivity import PART_RULE, gain, sensitivity, time_together
from ...common.errors import InputError
from ...data.spec import open_dataset
from ...runtimes.open import load_artifact

if TYPE_CHECKING:
    from .search_mixed import Target, Variants

TRIAL_RULE = LatencyRule(rounds=15, runs=4, budget_s=30.0, warmup_runs=30, warmup_s=6.0, tail=False)
_NAMED = 3  # parts a trial's name lists


class Bench:
    """Measures sets of parts against the float graph at `floats`."""

    def __init__(
        self, floats: Path, target: Target, evaluation: str, max_drop: float, folder: Path
    ) -> None:
        """Open the evaluation data; files are made in `folder`."""
        self.floats, self.target, self.folder = floats, target, folder
        self.evaluation, self.max_drop = evaluation, max_drop
        dataset = open_dataset(evaluation, contract=load_artifact(floats).contract)
        if not dataset.has_labels:
            raise InputError(
                f"Expected labels to judge the accuracy on, but {evaluation} has none."
            )
        self.data_digest = dataset.digest()

    def sensitivity(self, variants: Variants, images: int, method: str) -> Sensitivity:
        """Return the price of every part that can be INT8."""
        parts = {part: partial(variants.save, (part,)) for part in variants.every.parts}
        return sensitivity(
            self.floats,
            parts,
            self.evaluation,
            runtime=self.target.runtime,
            precision=self.target.precision,
            threads=self.target.threads,
            images=images,
            clock=PART_RULE,
            method=f"each part alone as the target's form quantizes it, {method} ranges",
        )

    def trial(self, variants: Variants, parts: Sequence[str]) -> Trial:
        """Return what the graph with `parts` in INT8 loses and gains; () is the float graph."""
        target, path = self.target, self.folder / "trial.onnx"
        variants.save(parts, path)
        candidates = [
            Candidate(str(file), target.runtime, precision, name, threads=target.threads)
            for file, precision, name in (
                (self.floats, "fp32", "float"),
                (path, target.precision, "trial"),
            )
        ]
        record = evaluate(candidates, self.evaluation, examples=0)
        first, second = (item.accuracy for item in record.measurements)
        if first is None or second is None or second.pixel_agreement is None:
            raise InputError(f"Expected labels to judge on, but {self.evaluation} has none.")
        files = [self.floats, path]
        way = (target.runtime, target.precision, target.threads)
        environment, busy, start = read_environment(), busy_share(), read_clock([os.getpid()])
        base, timed = time_together(files, way, TRIAL_RULE)
        end = read_clock([os.getpid()])
        won = gain(base, timed, TRIAL_RULE.runs)
        drop = first.miou - second.miou
        found = Trial(
            name=_name(parts, variants),
            parts=tuple(parts),
            miou=second.miou,
            miou_drop=drop,
            agreement=second.pixel_agreement,
            latency_ms=timed.samples.median_ms,
            float_ms=base.samples.median_ms,
            speedup=won.speedup,
            doubtful=won.doubtful,
            kept=drop <= self.max_drop,
            warnings=machine_warnings(environment, busy, start, end),
        )
        return found if parts else replace(found, speedup=1.0, doubtful=False)


def _name(parts: Sequence[str], variants: Variants) -> str:
    """Name a trial: by what differs from the target's whole form, or by number and a hash."""
    if not parts:
        return "float"
    missing = [part for part in variants.whole if part not in parts]
    added = [part for part in parts if part not in variants.whole]
    if not missing and not added:
        return "int8"
    if len(missing) + len(added) <= _NAMED:
        words = [f"without {', '.join(missing)}"] if missing else []
        words += [f"with {', '.join(added)}"] if added else []
        return f"int8 {' and '.join(words)}"
    if len(parts) <= _NAMED:
        return f"only {', '.join(parts)}"
    digest = hashlib.sha256(", ".join(parts).encode()).hexdigest()
    return f"{len(parts)} parts #{digest[:4]}"
