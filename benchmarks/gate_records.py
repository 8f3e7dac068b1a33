"""Real records for the study of the gate: one file measured twice, run after run.

    python benchmarks/gate_records.py CHECKPOINT -o FOLDER --data SPEC --runs 8

Exports the checkpoint, and a copy with noise in its weights that is worse. `accuracy.json` holds
the per-image counts of both on the data; `run-N.json` are benchmarks of the same file under two
names, interleaved, with the memory of fresh processes. `benchmarks/gate_study.py` resamples them.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from segship.benchmark.candidate import Candidate
from segship.benchmark.evaluate import evaluate
from segship.benchmark.record import save_record
from segship.benchmark.run import benchmark
from segship.optimize.export import export


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="New folder.")
@click.option("--data", required=True, help="Data specification.")
@click.option("--runs", default=8, show_default=True, help="Benchmarks of the file beside itself.")
@click.option("--noise", default=0.06, show_default=True, help="Of the worse copy's weights.")
@click.option("--rounds", default=20, show_default=True, help="Interleaved rounds of 5 runs.")
def main(checkpoint: Path, out: Path, data: str, runs: int, noise: float, rounds: int) -> None:
    """Record accuracy once and times and memory `--runs` times, on ONNX Runtime, one thread."""
    out.mkdir(parents=True)
    worse = worse_copy(checkpoint, out / "worse", noise)
    files = {"model": checkpoint, "worse": worse}
    for name, source in files.items():
        export(source, out / f"{name}.onnx")
    plain = Candidate(str(out / "model.onnx"), "onnxruntime", "fp32", name="model", threads=1)
    other = replace(plain, source=str(out / "worse.onnx"), name="worse")
    record = evaluate([plain, other], data, examples=0)
    save_record(record, out / "accuracy.json")
    scores = [item.accuracy.miou for item in record.measurements if item.accuracy]
    click.echo("mIoU: " + ", ".join(f"{score:.4f}" for score in scores))
    pair = [plain, replace(plain, name="the same file")]
    for number in range(runs):
        record = benchmark(pair, rounds=rounds)
        save_record(record, out / f"run-{number}.json")
        times = [item.latency.median_ms for item in record.measurements if item.latency]
        click.echo(f"run {number}: {times[0]:.2f} ms, {times[1]:.2f} ms")


def worse_copy(checkpoint: Path, folder: Path, noise: float, seed: int = 0) -> Path:
    """Copy a checkpoint folder with noise of that share of every weight's standard deviation."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(checkpoint, folder)
    file = folder / "model.safetensors"
    generator = np.random.default_rng(seed)
    tensors = load_file(file)
    for name, value in tensors.items():
        if value.ndim > 1:
            drawn = generator.standard_normal(value.shape) * noise * value.std()
            tensors[name] = (value + drawn).astype(value.dtype)
    save_file(tensors, file, {"format": "pt"})
    return folder


if __name__ == "__main__":
    main()
