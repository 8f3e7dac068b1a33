"""What does segship gain on this GPU? Plain and rewritten graphs as TensorRT engines, beside torch.

    make gpu-check
    python benchmarks/gpu_check.py --checkpoint DIR --variant B0 --variant B2

Every graph is built in FP32, FP16 and INT8 at every size and timed interleaved, each engine in a
process of its own, beside torch eager, torch.compile and torch in a CUDA graph. The accuracy is
that of the shipped demo model on the shipped scenes, in every precision. Writes NAME.json and
NAME.md, NAME being the GPU's. `--rehearse` goes the same way on the CPU (ONNX Runtime for
TensorRT): its numbers say nothing about a GPU and are not written to benchmarks/results.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from segship.benchmark.candidate import Candidate
from segship.benchmark.evaluate import evaluate
from segship.benchmark.record import Record
from segship.benchmark.run import benchmark
from segship.benchmarks.gpu_files import Files, Target, prepare
from segship.benchmarks.gpu_table import markdown
from segship.common.cli_exit import OneLineGroup
from segship.common.cli_options import SIZE
from segship.common.errors import InputError
from segship.common.files import write_text

RESULTS = Path(__file__).resolve().parent / "results"
DEMO = Path(__file__).resolve().parents[1] / "examples" / "demo" / "checkpoint"
SIZES = ((512, 512), (512, 1024), (1024, 1024))
TORCH = (("torch-cuda", "fp32"), ("torch-cuda", "fp16"), ("torch-cuda-compile", "fp16"),
         ("torch-cuda-graph", "fp16"))  # fmt: skip  # a table
REHEARSAL_TORCH = (("torch", "fp32"),)


@click.group(cls=OneLineGroup, invoke_without_command=True)
@click.option("--variant", "variants", multiple=True, default=["B0", "B2"], show_default=True)
@click.option("--checkpoint", help="Trained weights in place of random ones, of the one --variant.")
@click.option("--size", "sizes", type=SIZE, multiple=True, help="512, 512x1024 and 1024.")
@click.option("--images", default=16, show_default=True, help="Calibration images (scenes).")
@click.option("--scenes", default=64, show_default=True, help="Scenes the accuracy is measured on.")
@click.option("--budget", "budget_s", default=60.0, show_default=True, help="Seconds per size.")
@click.option("--files", type=click.Path(path_type=Path), help="Keep graphs and engines there.")
@click.option("--rehearse", is_flag=True, help="On the CPU, to see that it runs; needs --out.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the two files go.")
def main(
    variants: tuple[str, ...],
    checkpoint: str | None,
    sizes: tuple[tuple[int, int], ...],
    images: int,
    scenes: int,
    budget_s: float,
    files: Path | None,
    rehearse: bool,
    out: Path | None,
) -> None:
    """Prepare, measure, print and keep the table."""
    if rehearse and out is None:
        raise InputError("Expected --out with --rehearse: benchmarks/results holds GPU numbers.")
    if checkpoint and len(variants) != 1:
        raise InputError("Expected one --variant for --checkpoint, but got several: name one.")
    target = Target.rehearsal() if rehearse else Target.of_this_gpu()
    with ExitStack() as stack:
        place = files or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place.mkdir(parents=True, exist_ok=True)
        rows = [
            measured(prepare(variant, checkpoint, size, images, target, place), target, budget_s)
            for variant in variants
            for size in sizes or SIZES
        ]
        demo = prepare("demo", str(DEMO), None, images, target, place)
        scored = accuracy(demo, target, scenes)
    deliver(rows, scored, target, out or RESULTS)


def measured(files: Files, target: Target, budget_s: float) -> dict[str, Any]:
    """Time every file and torch, interleaved; return the record and the floors of the parts."""
    click.echo(f"timing {files.variant} at {files.size_px}: {', '.join(files.built)}", err=True)
    record = benchmark(
        [*candidates(files, target), *torch_candidates(files, target)],
        rounds=40,
        runs=10,
        budget_s=budget_s,
        starts=0 if target.rehearsed else 1,
        latency_only=True,
    )
    return {
        "variant": files.variant,
        "size_px": files.size_px,
        "record": asdict(record),
        "floors": {name: files.floors(name, target.peaks) for name in files.built},
    }


def accuracy(files: Files, target: Target, scenes: int) -> Record:
    """Score the demo model in every precision on the shipped scenes; the first is FP32."""
    order = sorted(files.built, key=lambda name: name != "rewritten fp32")
    chosen = [item for name in order for item in candidates(files, target, name)]
    return evaluate(chosen, f"scenes:{scenes}@val", examples=0)


def candidates(files: Files, target: Target, only: str = "") -> list[Candidate]:
    """Return a candidate per built file, the plain one in FP32 first."""
    return [
        Candidate(str(path), target.runtime, "auto", name, size_px=files.size_px)
        for name, path in files.built.items()
        if only in ("", name)
    ]


def torch_candidates(files: Files, target: Target) -> list[Candidate]:
    """Return torch in the ways people run it, on the same weights."""
    ways = REHEARSAL_TORCH if target.rehearsed else TORCH
    return [
        Candidate(
            str(files.checkpoint),
            runtime,
            precision,
            f"{runtime} {precision}",
            size_px=files.size_px,
        )  # fmt: skip  # one call
        for runtime, precision in ways
    ]


def deliver(rows: list[dict[str, Any]], scored: Record, target: Target, folder: Path) -> None:
    """Print the tables and write them beside the raw data."""
    name = re.sub(r"[^a-z0-9]+", "-", target.name.lower()).strip("-")
    content = {
        "target": asdict(target),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "rows": rows,
        "accuracy": asdict(scored),
    }
    text = markdown(content)
    click.echo(text)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    write_text(folder / f"{name}.md", text)
    click.echo(f"written: {folder / name}.json, {folder / name}.md", err=True)


if __name__ == "__main__":
    main(prog_name="gpu_check.py")
