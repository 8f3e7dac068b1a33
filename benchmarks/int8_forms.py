"""Which form of INT8 is the fastest on this machine, and what does each lose?

    python benchmarks/int8_forms.py CHECKPOINT --data camvid:DIR@train --eval camvid:DIR@val \
        --size 512 --json benchmarks/results/b0-512-int8-forms.json

One calibration, one file per form, timed interleaved on ONNX Runtime and OpenVINO (FP32, and BF16
where the CPU has it) beside the float graph. With --eval the accuracy of every form is in the
record as well.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import click

from segship.benchmark.candidate import Candidate
from segship.benchmark.record import Record, save_record
from segship.benchmark.run import benchmark
from segship.calibration.calibration_set import open_calibration
from segship.calibration.collect import collect_ranges
from segship.common.cli_options import SIZE
from segship.models.checkpoints import load_checkpoint
from segship.optimize.export import export
from segship.optimize.quantize.edges import quantized_tensors
from segship.optimize.quantize.plan import QuantForm, make_plan
from segship.optimize.quantize.qdq import insert_qdq

# without the convolutions OpenVINO refuses: docs/decisions/0008-openvino-int8-patches.md
PLAIN = QuantForm(residual=False, narrow_patches=False)
UNSIGNED = replace(PLAIN, unsigned=True)
FORMS = {
    "convolutions": replace(PLAIN, linear=False),
    "convolutions but depthwise": replace(PLAIN, linear=False, depthwise=False),
    "products": PLAIN,
    "products but depthwise": replace(PLAIN, depthwise=False),
    "products, unsigned": UNSIGNED,
    "products and attention, unsigned": replace(UNSIGNED, attention=True),
    "products, outputs too": replace(PLAIN, outputs=True),
    "convolutions, outputs too": replace(PLAIN, linear=False, outputs=True),
    "everything": replace(UNSIGNED, attention=True, everything=True),
}


@click.command()
@click.argument("checkpoint")
@click.option("--data", required=True, help="Calibration images.")
@click.option("--eval", "evaluation", help="Evaluation images; without them latency only.")
@click.option("--images", default=32, show_default=True)
@click.option("--size", type=SIZE, default="512", show_default=True)
@click.option("--bf16", is_flag=True, help="OpenVINO in BF16 too, on a CPU that has it.")
@click.option("--threads", type=int, help="Physical cores by default.")
@click.option("--rounds", type=int, default=20, show_default=True)
@click.option("--budget", "budget_s", type=float, default=300.0, help="Seconds of sampling.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Keep the record.")
def main(
    checkpoint: str,
    data: str,
    evaluation: str | None,
    images: int,
    size: tuple[int, int],
    bf16: bool,
    threads: int | None,
    rounds: int,
    budget_s: float,
    json_path: Path | None,
) -> None:
    """Write every form, measure all of them in one run, print the table."""
    with tempfile.TemporaryDirectory() as name:
        files = write_forms(checkpoint, data, images, size, Path(name))
        ways = [("onnxruntime", "fp32"), ("openvino", "fp32")]
        ways += [("openvino", "bf16")] if bf16 else []
        candidates = [
            Candidate(str(path), runtime, precision, f"{label} · {runtime} {precision}")
            for runtime, precision in ways
            for label, path in files.items()
        ]
        record = benchmark(
            candidates,
            evaluation,
            threads=threads,
            rounds=rounds,
            budget_s=budget_s,
            starts=0,
            latency_only=evaluation is None,
        )
    show(record)
    if json_path:
        save_record(replace(record, title=f"Forms of INT8 at {size[0]}x{size[1]}"), json_path)


def write_forms(
    checkpoint: str, data: str, images: int, size: tuple[int, int], folder: Path
) -> dict[str, Path]:
    """Export once, calibrate every tensor some form needs, write one file per form."""
    import onnx

    path = folder / "float.onnx"
    contract = export(load_checkpoint(checkpoint), path, size_px=size).artifact.contract
    model = onnx.load(str(path))
    plans = {label: make_plan(model, form) for label, form in FORMS.items()}
    names = {name for plan in plans.values() for name in quantized_tensors(model, plan)}
    pixels = open_calibration(data, contract, images=images).pixels()
    ranges = collect_ranges(path, sorted(names), pixels)
    files = {"float": path}
    for index, (label, plan) in enumerate(plans.items()):
        files[label] = folder / f"{index}.onnx"
        onnx.save(insert_qdq(model, ranges, plan), str(files[label]))
    return files


def show(record: Record) -> None:
    """Print one line per measurement."""
    click.echo(f"{record.environment.cpu}, {record.protocol.threads} threads")
    for item in record.measurements:
        time = f"{item.latency.median_ms:7.1f} ms" if item.latency else ""
        drop = item.accuracy.drop if item.accuracy else None
        lost = f"  drop {100 * drop.miou:5.2f} points" if drop else ""
        click.echo(f"{item.name:52} {time}{lost}")


if __name__ == "__main__":
    main()
