"""`segship evaluate` and `segship benchmark`: accuracy, latency, memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ..common.cli_options import clock_options, measure_options
from .shared import console, deliver, take_candidates, take_outputs, take_scoring

if TYPE_CHECKING:
    from ..benchmark.candidate import Candidate


@click.command()
@click.option("--data", required=True, metavar="SPEC", help="FORMAT:PATH[@SPLIT].")
@measure_options
def evaluate(artifacts: tuple[str, ...], data: str, **options: Any) -> None:
    """Measure accuracy only; the first artifact is the baseline.

    An artifact may name what runs it: FILE@RUNTIME[:PRECISION].

    Example: segship evaluate plain.onnx model.onnx@openvino --data camvid:../camvid@val
    """
    outputs = take_outputs(options)
    from ..benchmark.evaluate import evaluate as evaluate_candidates

    options["scoring"] = take_scoring(options)
    candidates = take_candidates(artifacts, options)
    deliver(evaluate_candidates(candidates, data, **options), outputs)


@click.command()
@measure_options
@clock_options
def benchmark(artifacts: tuple[str, ...], data: str | None, **options: Any) -> None:
    """Measure accuracy, latency, whole frames, memory and cold start.

    Candidates are timed interleaved, each in a process of its own. An artifact may name what
    runs it: FILE@RUNTIME[:PRECISION]. With --sizes, --batches or --sweep-threads only the
    latency of every combination is measured.

    Example: segship benchmark plain.onnx model.onnx@openvino --data scenes:64 --html r.html
    """
    outputs = take_outputs(options)
    from ..benchmark.run import benchmark as benchmark_candidates

    axes = [options.pop(name) or () for name in ("sizes", "batches", "sweep_threads")]
    candidates = take_candidates(artifacts, options)
    if any(axes):
        return _sweep(candidates, axes, outputs, {"data": data, **options})
    options["scoring"] = take_scoring(options)
    settings = {name: value for name, value in options.items() if value is not None}
    deliver(benchmark_candidates(candidates, data, **settings), outputs)


def _sweep(
    candidates: list[Candidate],
    axes: list[Any],
    outputs: dict[str, Any],
    others: dict[str, Any],
) -> None:
    """Measure every combination, print the rows and write them as JSON where asked."""
    from ..benchmark.sweep import save_sweep, sweep
    from ..reports.sweep_table import print_sweep

    threads, json_path = others.pop("threads"), outputs.pop("json_path")
    if unused := [name.replace("_", "-") for name, value in (others | outputs).items() if value]:
        raise click.UsageError(f"A sweep measures latency alone: leave out --{unused[0]}.")
    asked = [replace(item, threads=threads) for item in candidates]
    result = sweep(asked, sizes=axes[0], batches=axes[1], threads=axes[2])
    print_sweep(result, console())
    if json_path:
        save_sweep(result, json_path)
