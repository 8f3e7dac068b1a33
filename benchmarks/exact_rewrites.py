"""How much do the exact rewrites gain? Plain against rewritten ONNX, interleaved in one run.

    python benchmarks/exact_rewrites.py --variant B0 --checkpoint DIR --frame-image frame.jpg
    python benchmarks/exact_rewrites.py --opset 17 --opset 18 --opset 20

Without --checkpoint the weights are random: latency does not depend on them, but the frame does
(random logits disagree everywhere), so frames are only measured with a checkpoint. The plain
graph has the first opset given; the rewritten one is measured in each.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import click

from segship.benchmark.candidate import Candidate
from segship.benchmark.record import Record, save_record
from segship.benchmark.run import benchmark
from segship.common.cli_options import SIZE
from segship.data.contract import Contract
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.models.segformer import SegFormer
from segship.models.spec import variant_spec
from segship.optimize.export import DEFAULT_OPSET, OPSETS, export

RUNTIMES = (("onnxruntime", "fp32"), ("openvino", "fp32"))
BF16 = ("openvino", "bf16")


@click.command()
@click.option("--variant", default="B0", help="B0 to B5; random weights without --checkpoint.")
@click.option("--checkpoint", help="A trained checkpoint of that variant.")
@click.option("--size", type=SIZE, default="512", show_default=True)
@click.option(
    "--opset", "opsets", type=click.Choice(OPSETS), multiple=True, default=[DEFAULT_OPSET]
)
@click.option("--frame-image", type=click.Path(path_type=Path), help="Encoded image for frames.")
@click.option("--bf16", is_flag=True, help="OpenVINO in BF16 too, on a CPU that has it.")
@click.option("--threads", type=int, help="Physical cores by default.")
@click.option("--rounds", type=int, default=20, show_default=True)
@click.option("--budget", "budget_s", type=float, default=180.0, help="Seconds of sampling.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Keep the record.")
def main(
    variant: str,
    checkpoint: str | None,
    size: tuple[int, int],
    opsets: tuple[int, ...],
    frame_image: Path | None,
    bf16: bool,
    threads: int | None,
    rounds: int,
    budget_s: float,
    json_path: Path | None,
) -> None:
    """Export both graphs, measure both runtimes, print the ratios."""
    source = load_checkpoint(checkpoint) if checkpoint else random_checkpoint(variant)
    with tempfile.TemporaryDirectory() as folder:
        candidates = export_both(source, Path(folder), size, opsets, bf16)
        record = benchmark(
            candidates,
            frame_image=frame_image if checkpoint else None,
            threads=threads,
            rounds=rounds,
            budget_s=budget_s,
            starts=0,
            latency_only=True,
        )
    print_ratios(record)
    if json_path:
        save_record(replace(record, title=f"Exact rewrites, {variant} at {size}"), json_path)
        click.echo(f"record: {json_path}")


def random_checkpoint(variant: str) -> Checkpoint:
    """Return a checkpoint of `variant` with torch's seeded initialisation and 11 classes."""
    import torch

    torch.manual_seed(0)
    spec = variant_spec(variant, classes=11)
    contract = Contract(classes=tuple(f"class {index}" for index in range(11)))
    return Checkpoint(SegFormer(spec).eval(), spec, contract, (), Path(f"random-{variant}"))


def export_both(
    source: Checkpoint,
    folder: Path,
    size_px: tuple[int, int],
    opsets: tuple[int, ...],
    bf16: bool = False,
) -> list[Candidate]:
    """Export plain and rewritten graphs; the plain one gets the usual dense post-processing."""
    graphs = [("plain", False, opsets[0], "dense-torch")]
    graphs += [("rewritten", True, opset, "sparse") for opset in opsets]
    candidates = []
    for name, fold, opset, post in graphs:
        path = folder / f"{name}-{opset}.onnx"
        report = export(source, path, size_px=size_px, fold=fold, opset=opset)
        click.echo(f"{source.spec.variant} {name}, opset {opset}: {report.parity}")
        candidates += [
            Candidate(
                str(path),
                runtime,
                precision,
                f"{name} {runtime} {precision} {opset}",
                postprocess=post,
            )
            for runtime, precision in (*RUNTIMES, *([BF16] if bf16 else []))
        ]
    return candidates


def print_ratios(record: Record) -> None:
    """Print one line per measurement and the ratio of plain to rewritten per runtime."""
    click.echo(f"{record.environment.cpu}, {record.protocol.threads} threads")
    for item in record.measurements:
        frame = f"  frame {item.frame.total.median_ms:7.1f} ms" if item.frame else ""
        latency = item.latency
        if latency:
            click.echo(
                f"{item.name:30s} median {latency.median_ms:7.1f} ms  IQR {latency.iqr_ms:5.1f}"
                f"  n {len(latency.samples_ms)}{frame}"
            )
    plain = {
        (item.runtime, item.precision): item.latency
        for item in record.measurements
        if "plain" in item.name
    }
    for item in record.measurements:
        base = plain[item.runtime, item.precision]
        if "rewritten" in item.name and base and item.latency:
            ratio = base.median_ms / item.latency.median_ms
            click.echo(f"plain / {item.name} = {ratio:.2f}x")
    frames = [item for item in record.measurements if item.frame]
    if frames and frames[0].frame:
        best = min(frames, key=lambda item: item.frame.total.median_ms if item.frame else 0)
        ratio = frames[0].frame.total.median_ms / (best.frame.total.median_ms if best.frame else 1)
        click.echo(f"frame: {frames[0].name} + dense torch / {best.name} + sparse = {ratio:.2f}x")
    for warning in record.warnings:
        click.echo(f"warning: {warning}")


if __name__ == "__main__":
    main()
