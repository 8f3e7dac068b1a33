"""Which rule for the range of an activation keeps most, and what does sampling its values cost?

    python benchmarks/range_rules.py CHECKPOINT --data camvid:DIR@train --eval camvid:DIR@val \
        --json benchmarks/results/b0-range-rules.json

Every rule of segship, on the rewritten graph without scaling, in the INT8 form of the profile
tensorrt8: products alone, with the products of attention, and everything. Files are evaluated on
ONNX Runtime in one pass. The second table compares thresholds from histograms that count one value
in each of 65 536 equal parts of a tensor with those that count every value.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from segship.benchmark.candidate import Candidate
from segship.benchmark.evaluate import evaluate
from segship.benchmark.record import Record
from segship.calibration.calibration_set import open_calibration
from segship.calibration.collect import SAMPLE, collect_ranges
from segship.calibration.ranges import Ranges
from segship.common.errors import InputError
from segship.common.files import write_text
from segship.models.checkpoints import load_checkpoint
from segship.optimize.export import export
from segship.optimize.quantize.edges import quantized_tensors
from segship.optimize.quantize.plan import QuantForm, QuantPlan, make_plan
from segship.optimize.quantize.profile import read_profile
from segship.optimize.quantize.qdq import insert_qdq

Images = list[NDArray[Any]]
Row = dict[str, Any]
METHODS = ("mse", "percentile", "minmax", "entropy")
PRODUCTS = "products"
RULES_HEAD = """| rule | form | mIoU | drop, 95 % | labels equal | tensors | worst 5 % | worst |
|---|---|---|---|---|---|---|---|"""
SAMPLING_HEAD = """| rule | least | 5 % | median | 95 % | most | signal to noise moves |
|---|---|---|---|---|---|---|"""


@click.command()
@click.argument("checkpoint")
@click.option("--data", required=True, help="Calibration images.")
@click.option("--eval", "evaluation", required=True, help="Evaluation images.")
@click.option("--images", default=64, show_default=True)
@click.option("--sampling-images", default=8, show_default=True, help="Of the second table.")
@click.option("--limit", type=int, help="Evaluate on the first images only.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    checkpoint: str,
    data: str,
    evaluation: str,
    images: int,
    sampling_images: int,
    limit: int | None,
    json_path: Path | None,
) -> None:
    """Print both tables and keep them."""
    source = load_checkpoint(checkpoint)
    found = open_calibration(data, source.contract, images=images, evaluation=evaluation)
    pixels = list(found.pixels())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(source, folder / "float.onnx")
        plans = plans_of(folder / "float.onnx")
        tensors = tensors_of(folder / "float.onnx", plans)
        ranges = write_files(folder, plans, tensors, pixels)
        candidates = [
            Candidate(str(path), "onnxruntime", "fp32", name=path.stem)
            for path in (folder / "float.onnx", *sorted(folder.glob("* *.onnx")))
        ]
        record = evaluate(candidates, evaluation, limit=limit)
        rules = rule_rows(record, tensors, ranges)
        sampling = sampling_rows(folder / "float.onnx", pixels[:sampling_images], tensors[PRODUCTS])
    show(rules, sampling, len(pixels), min(sampling_images, len(pixels)))
    if json_path:
        content = {
            "images": record.protocol.images,
            "calibration_images": len(pixels),
            "sampling_images": sampling_images,
            "rules": rules,
            "sampling": sampling,
        }
        write_text(json_path, json.dumps(content, indent=1) + "\n")


def plans_of(path: Path) -> dict[str, QuantPlan]:
    """Return the plan of every form by its name."""
    import onnx

    profile, model = read_profile("tensorrt8"), onnx.load(str(path))
    forms: dict[str, QuantForm] = {
        PRODUCTS: profile.form,
        "attention": replace(profile.form, attention=True),
        "everything": profile.form_for("int8-all"),
    }
    return {name: make_plan(model, form) for name, form in forms.items()}


def tensors_of(path: Path, plans: dict[str, QuantPlan]) -> dict[str, list[str]]:
    """Return the activations every plan quantizes."""
    import onnx

    model = onnx.load(str(path))
    return {name: sorted(quantized_tensors(model, plan)) for name, plan in plans.items()}


def write_files(
    folder: Path, plans: dict[str, QuantPlan], tensors: dict[str, list[str]], pixels: Images
) -> dict[str, Ranges]:
    """Write "METHOD FORM.onnx" for every pair and return the ranges by method."""
    import onnx

    source = folder / "float.onnx"
    model = onnx.load(str(source))
    every = sorted({name for names in tensors.values() for name in names})
    ranges = {}
    for method in METHODS:
        ranges[method] = collect_ranges(source, every, pixels, method=method)
        for name, plan in plans.items():
            made = insert_qdq(model, ranges[method], plan)
            onnx.save(made, str(folder / f"{method} {name}.onnx"))
        click.echo(f"made: {method}", err=True)
    return ranges


def rule_rows(
    record: Record, tensors: dict[str, list[str]], ranges: dict[str, Ranges]
) -> list[Row]:
    """Return a row per file: accuracy, and of the products the noise of their ranges."""
    rows: list[Row] = []
    for item in record.measurements:
        accuracy = item.accuracy
        if accuracy is None:
            raise InputError("Expected labels to judge on, but the evaluation data has none.")
        method, _, form = item.name.partition(" ")
        row: Row = {"method": method, "form": form, "miou": accuracy.miou}
        if form and accuracy.drop:
            row["drop_points"] = [100 * accuracy.drop.low, 100 * accuracy.drop.high]
            row["pixel_agreement"] = accuracy.pixel_agreement
            row |= noise_of(ranges[method], tensors[form])
        rows.append(row)
    return rows


def noise_of(ranges: Ranges, tensors: list[str]) -> Row:
    """Return the signal-to-noise ratio of 8 bits, in dB, over the tensors."""
    found = {name: ranges.tensors[name].sqnr_db for name in tensors}
    worst = min(found, key=lambda name: found[name])
    return {
        "tensors": len(found),
        "sqnr_db_5_percent": float(np.quantile(list(found.values()), 0.05)),
        "sqnr_db_worst": found[worst],
        "worst": worst,
    }


def sampling_rows(path: Path, pixels: Images, tensors: list[str]) -> list[Row]:
    """Compare sampled with full histograms for every rule that looks at them."""
    rows = []
    for method in METHODS:
        if method == "minmax":
            continue
        some, every = (
            collect_ranges(path, tensors, pixels, method=method, sample=count).tensors
            for count in (SAMPLE, 0)
        )
        ratios = np.array([some[name].high / every[name].high for name in tensors])
        changes = [abs(some[name].sqnr_db - every[name].sqnr_db) for name in tensors]
        places = np.quantile(ratios, (0.0, 0.05, 0.5, 0.95, 1.0))
        rows.append(
            {
                "method": method,
                "tensors": len(tensors),
                "ratio": [float(value) for value in places],
                "sqnr_db_change_at_most": float(max(changes)),
            }
        )
    return rows


def show(rules: list[Row], sampling: list[Row], images: int, sampling_images: int) -> None:
    """Print both tables as Markdown."""
    click.echo(f"\nfloat: mIoU {100 * rules[0]['miou']:.2f}; {images} calibration images\n")
    click.echo(RULES_HEAD)
    for row in rules[1:]:
        low, high = row["drop_points"]
        click.echo(
            f"| {row['method']} | {row['form']} | {100 * row['miou']:.2f} | "
            f"{low:.2f} to {high:.2f} | "
            f"{row['pixel_agreement']:.2%} | {row['tensors']} | "
            f"{row['sqnr_db_5_percent']:.1f} dB | {row['sqnr_db_worst']:.1f} dB, {row['worst']} |"
        )
    click.echo(f"\nthresholds, sampled over counting everything, {sampling_images} images\n")
    click.echo(SAMPLING_HEAD)
    for row in sampling:
        values = " | ".join(f"{value:.3f}" for value in row["ratio"])
        change = row["sqnr_db_change_at_most"]
        click.echo(f"| {row['method']} | {values} | {change:.1f} dB at most |")


if __name__ == "__main__":
    main()
