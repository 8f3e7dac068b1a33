"""What does FP16 around INT8 cost in accuracy, against FP32 around the same INT8?

    python benchmarks/fp16_around_int8.py CHECKPOINT --data camvid:DIR@train \
        --eval camvid:DIR@val --json benchmarks/results/b0-fp16-around-int8.json

For the checkpoint, its outlier twin and its twin past 65504, scaled exactly or not: one export at
opset 19, one calibration, INT8 in TensorRT 10's form. Every file is judged as FP16 hardware
computes it; one row runs the FP16 file on ONNX Runtime's own kernels for a CPU.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from segship.benchmark.candidate import Candidate
from segship.benchmark.evaluate import evaluate
from segship.calibration.calibration_set import CalibrationSet, open_calibration
from segship.common.files import write_text
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.optimize.export import export
from segship.optimize.quantize.fp16_rounding import as_hardware
from segship.optimize.quantize.not_finite import first_not_finite
from segship.optimize.quantize.prescale import scaling_passes
from segship.optimize.quantize.quantize import quantize
from segship.tests.optimize.outlier_twin import half_precision_twin, outlier_twin

_OPSET = 19
_FILES = (("int8", "fp16"), ("int8", "fp32"))  # precision, float around it
_EVERYTHING = ("int8-all", "fp16")


@click.command()
@click.argument("checkpoint")
@click.option("--data", required=True, help="Calibration images.")
@click.option("--eval", "evaluation", required=True, help="Images the files are judged on.")
@click.option("--images", default=64, show_default=True, help="For calibration.")
@click.option("--limit", type=int, help="Images to judge on (all).")
@click.option("--network", "chosen", multiple=True, help="Only it, as the table calls it.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    checkpoint: str,
    data: str,
    evaluation: str,
    images: int,
    limit: int | None,
    chosen: tuple[str, ...],
    json_path: Path | None,
) -> None:
    """Quantize every network in every way, judge, print and keep the table."""
    source = load_checkpoint(checkpoint)
    calibration = open_calibration(data, source.contract, images=images, evaluation=evaluation)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in networks(source, calibration, Path(folder), chosen):
            whole = name == "checkpoint"
            for row in rows_of(path, data, evaluation, images, limit, whole=whole):
                rows.append({"network": name, **row})
                click.echo("  ".join(f"{key} {value}" for key, value in rows[-1].items()))
    if json_path is not None:
        write_text(json_path, json.dumps(rows, indent=1) + "\n")


def networks(
    source: Checkpoint, calibration: CalibrationSet, folder: Path, chosen: tuple[str, ...]
) -> Iterator[tuple[str, Path]]:
    """Yield the name of a network and its float ONNX file."""
    import torch

    first = torch.from_numpy(next(iter(calibration.pixels())))
    models = {
        "checkpoint": source.model,
        "outlier twin": outlier_twin(source.model, seed=3),
        "twin past 65504": half_precision_twin(source.model, first),
    }
    for name, model in models.items():
        own = replace(source, model=model)
        path = folder / f"{name}.onnx"
        if name in chosen or not chosen:
            scaling = scaling_passes(own, calibration, "int8", half=True)
            export(own, path, opset=_OPSET, scaling=scaling)
            yield name, path
        path, name = folder / f"{name} as it is.onnx", f"{name}, not scaled"
        if name in chosen or not chosen:
            export(own, path, opset=_OPSET)
            yield name, path


def rows_of(
    path: Path, data: str, evaluation: str, images: int, limit: int | None, *, whole: bool
) -> Iterator[dict[str, Any]]:
    """Yield what the table says of the float file, then of each quantized one."""
    import onnx

    candidates = [Candidate(str(path), "onnxruntime", "fp32", name="float")]
    facts: list[dict[str, Any]] = [{}]
    ranges = path.with_suffix(".json")
    pixels = next(iter(open_calibration(evaluation, _contract(path), images=1).pixels()))
    # FP16 first: its ranges are of all activations, and serve the others
    for precision, around in (*_FILES, *((_EVERYTHING,) if whole else ())):
        target = path.with_name(f"{path.stem} {precision} {around}.onnx")
        options: dict[str, Any] = {"precision": precision, "float_type": around, "images": images}
        report = quantize(path, target, data=data, profile="tensorrt10", ranges=ranges, **options)
        model = onnx.load(str(target))
        with as_hardware(target) as judged:
            kept = target.with_suffix(".judged.onnx")
            kept.write_bytes(judged.path.read_bytes())
        name = f"{precision}, {around} around"
        candidates.append(Candidate(str(kept), "onnxruntime", "fp32", name=name))
        facts.append(
            {
                "fp32_nodes": sum(
                    row.precision == "fp32" or "FP32 around" in row.reason for row in report.rows
                ),
                "casts": sum(node.op_type == "Cast" for node in model.graph.node),
                "mib": round(report.size_mib, 2),
                "first_overflow": first_not_finite(model, pixels),
            }
        )
        if whole and (precision, around) == _FILES[0]:
            candidates.append(Candidate(str(target), "onnxruntime", "fp32", name="on CPU kernels"))
            facts.append({})
    record = evaluate(candidates, evaluation, limit=limit)
    for item, more in zip(record.measurements, facts, strict=True):
        found = item.accuracy
        if found is not None:
            numbers = {"miou": round(100 * found.miou, 2), "labels_equal": found.pixel_agreement}
            yield {"file": item.name, **numbers, **more}


def _contract(path: Path) -> Any:
    from segship.runtimes.open import load_artifact

    return load_artifact(path).contract


if __name__ == "__main__":
    main()
