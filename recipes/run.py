"""A recipe, followed: checkpoint → exports → candidates measured → record and report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..benchmark.candidate import Candidate
from ..benchmark.record import Record, load_record, save_record
from ..common.errors import InputError, SegshipError
from .recipe import CHECKPOINT, CandidateStep, ExportStep, Recipe, load_recipe
from .steps import Steps

Say = Callable[[str], object]


@dataclass(frozen=True)
class RecipeResult:
    """Where a run left its files, what it did not do again, and what it could not do.

    `skipped` are steps that were done before (`resume`), `left_out` the candidates this machine
    cannot run, with the reason.
    """

    output: Path
    record: Record
    report: Path
    skipped: tuple[str, ...]
    left_out: tuple[str, ...]


def run_recipe(
    path: str | Path, *, resume: bool = False, say: Say = lambda _: None
) -> RecipeResult:
    """Follow the recipe in `path`; with `resume` skip the steps whose inputs have not changed.

    The output folder gets one ONNX file per export, `record.json`, `report.html` and `report.md`.

    Args:
        path: the YAML file, see `recipes/recipe.py`.
        resume: keep finished steps of an earlier run in the same folder.
        say: is given one line per step, for a person who waits.

    Raises:
        InputError: the recipe, or what it names, is wrong.
        CheckFailedError: an export does not compute what the checkpoint computes.
    """
    from ..reports.write import write_record

    recipe = load_recipe(path)
    fingerprint = _fingerprint(recipe)
    steps = Steps.open(recipe.output, resume=resume)
    hashes = {CHECKPOINT: fingerprint["checkpoint"]}
    for item in recipe.exports:
        hashes[item.name] = _export(recipe, item, fingerprint, steps, say)
    candidates, left_out = _candidates(recipe, say)
    record = _measure(recipe, candidates, {**fingerprint, "artifacts": hashes}, steps, say)
    report = recipe.output / "report.html"
    write_record(record, html=report, markdown=recipe.output / "report.md")
    return RecipeResult(recipe.output, record, report, tuple(steps.skipped), left_out)


def _fingerprint(recipe: Recipe) -> dict[str, str]:
    """Read checkpoint and data once: wrong ones end the run here, before anything is written."""
    from ..benchmark.environment import segship_version
    from ..data.spec import open_dataset
    from ..models.checkpoints import load_checkpoint

    checkpoint = load_checkpoint(recipe.checkpoint)
    dataset = open_dataset(recipe.data, contract=checkpoint.contract)
    return {
        "segship": segship_version(),
        "checkpoint": checkpoint.spec.provenance.sha256,
        "data": dataset.digest(),
    }


def _export(
    recipe: Recipe, item: ExportStep, fingerprint: dict[str, str], steps: Steps, say: Say
) -> str:
    """Make one ONNX file and return its hash."""
    output = recipe.output / f"{item.name}.onnx"
    inputs = {name: fingerprint[name] for name in ("segship", "checkpoint")} | asdict(item)
    return _step(
        f"export {item.name}",
        inputs,
        output,
        partial(_write_onnx, recipe, item, output),
        steps,
        say,
    )


def _write_onnx(recipe: Recipe, item: ExportStep, output: Path) -> None:
    from ..optimize.export import export

    export(
        recipe.checkpoint,
        output,
        size_px=item.size_px,
        dynamic=item.dynamic,
        output_kind=item.output,
        input_kind=item.input,
        fold=item.fold,
        opset=item.opset,
        batch=item.batch,
    )


def _candidates(recipe: Recipe, say: Say) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """Return what can be measured here, and why the rest cannot."""
    chosen, left_out = [], []
    for step in recipe.candidates:
        candidate = _candidate(recipe, step)
        reason = _unavailable(candidate) if step.if_available else None
        if reason is None:
            chosen.append(candidate)
        else:
            left_out.append(f"{step.artifact} on {step.runtime} {step.precision}: {reason}")
            say(f"left out  {left_out[-1]}")
    names = [candidate.name for candidate in chosen]
    if not chosen or recipe.baseline not in (None, *names):
        raise InputError(f"{recipe.path}: the baseline cannot run here: {'; '.join(left_out)}")
    return tuple(chosen), tuple(left_out)


def _candidate(recipe: Recipe, step: CandidateStep) -> Candidate:
    source = recipe.checkpoint
    if step.artifact != CHECKPOINT:
        source = str(recipe.output / f"{step.artifact}.onnx")
    return Candidate(
        source=source,
        runtime=step.runtime,
        precision=step.precision,
        name=step.name,
        postprocess=step.postprocess,
        threads=step.threads,
    )


def _unavailable(candidate: Candidate) -> str | None:
    """Open and close the candidate; return why that fails, None where it works."""
    from ..runtimes.open import open_session

    try:
        with open_session(
            candidate.source,
            runtime=candidate.runtime,
            precision=candidate.precision,
            threads=candidate.threads,
        ):
            return None
    except SegshipError as error:
        return str(error)


def _measure(
    recipe: Recipe,
    candidates: tuple[Candidate, ...],
    inputs: dict[str, Any],
    steps: Steps,
    say: Say,
) -> Record:
    """Measure the candidates in one interleaved run and return the record that was saved."""
    from ..benchmark.run import benchmark

    output = recipe.output / "record.json"
    settings = {name: getattr(recipe, name) for name in ("baseline", "limit", "rounds", "starts")}
    inputs = {**inputs, **settings, "candidates": [asdict(item) for item in candidates]}

    def work() -> None:
        save_record(benchmark(candidates, recipe.data, **settings), output)

    _step(f"measure {len(candidates)} candidates", inputs, output, work, steps, say)
    return load_record(output)


def _step(
    name: str,
    inputs: dict[str, Any],
    output: Path,
    work: Callable[[], None],
    steps: Steps,
    say: Say,
) -> str:
    """Run one step and say how it went."""
    before, started = len(steps.skipped), time.perf_counter()
    digest = steps.run(name, inputs, output, work)
    done = len(steps.skipped) > before
    took = "done before" if done else f"{time.perf_counter() - started:.1f} s"
    say(f"{name}: {output} ({took})")
    return digest
