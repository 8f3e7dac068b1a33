"""What do the usual INT8 quantizers lose on the same checkpoint, beside ours?

    python benchmarks/int8_contrast.py CHECKPOINT --data camvid:DIR@train --eval camvid:DIR@val \
        --json benchmarks/results/b0-int8-contrast.json

Every file is an ONNX graph with Q/DQ, calibrated on the same images and evaluated on ONNX Runtime
in one pass. NNCF and ModelOpt are no dependencies of segship: rows whose package is missing are
left out and named.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from segship.benchmark.candidate import Candidate
from segship.benchmark.evaluate import evaluate
from segship.benchmark.record import Record
from segship.calibration.calibration_set import CalibrationSet, open_calibration
from segship.common.files import write_text
from segship.models.checkpoints import load_checkpoint
from segship.optimize.export import export
from segship.optimize.quantize.quantize import quantize
from segship.runtimes.open import load_artifact

Images = list[NDArray[Any]]
INPUT = "pixels"


@click.command()
@click.argument("checkpoint")
@click.option("--data", required=True, help="Calibration images.")
@click.option("--eval", "evaluation", required=True, help="Evaluation images.")
@click.option("--images", default=64, show_default=True)
@click.option("--limit", type=int, help="Evaluate on the first images only.")
@click.option("--rivals/--no-rivals", default=True, help="Only our own files without them.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    checkpoint: str,
    data: str,
    evaluation: str,
    images: int,
    limit: int | None,
    rivals: bool,
    json_path: Path | None,
) -> None:
    """Quantize in every way, evaluate all files in one pass, print and keep the table."""
    source = load_checkpoint(checkpoint)
    calibration = open_calibration(data, source.contract, images=images, evaluation=evaluation)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, fold in (("plain", False), ("rewritten", True)):
            export(source, folder / f"{kind}.onnx", fold=fold)
        rows = [("float", folder / "rewritten.onnx", 0.0)]
        for label, make in ways(checkpoint, data, images, calibration, rivals).items():
            target = folder / f"{len(rows)}.onnx"
            started = time.perf_counter()
            try:
                make(folder, target)
            except ImportError as error:
                click.echo(f"left out: {label} ({error})")
                continue
            rows.append((label, target, time.perf_counter() - started))
            click.echo(f"made: {label} in {rows[-1][2]:.0f} s")
        candidates = [
            Candidate(str(path), "onnxruntime", "fp32", name=label) for label, path, _ in rows
        ]
        record = evaluate(candidates, evaluation, limit=limit)
        report(record, [row[2] for row in rows], images, json_path)


def ways(
    checkpoint: str, data: str, images: int, calibration: CalibrationSet, rivals: bool
) -> dict[str, Callable[[Path, Path], None]]:
    """Return, by its label, every function (folder, target) that writes a quantized file."""
    pixels: Images = list(calibration.pixels())

    def ours(precision: str, **options: Any) -> Callable[[Path, Path], None]:
        def make(_: Path, target: Path) -> None:
            given = {"data": data, "images": images, "profile": "tensorrt8", **options}
            quantize(checkpoint, target, precision=precision, **given)

        return make

    own = {
        "segship int8": ours("int8"),
        "segship int8, without scaling": ours("int8", scaling=False),
        "segship int8-all": ours("int8-all"),
    }
    if not rivals:
        return own
    return own | {
        "ONNX Runtime MinMax, plain graph": lambda f, t: onnx_runtime(f / "plain.onnx", t, pixels),
        "NNCF default, plain graph": lambda f, t: nncf(f / "plain.onnx", t, pixels, ""),
        "NNCF transformer, plain graph": lambda f, t: nncf(
            f / "plain.onnx", t, pixels, "transformer"
        ),
        "ModelOpt entropy, rewritten graph": lambda f, t: modelopt(f / "rewritten.onnx", t, pixels),
    }


def onnx_runtime(source: Path, target: Path, pixels: Images) -> None:
    """ONNX Runtime's static quantizer with its defaults, of every operator it knows."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            self.left = iter(pixels)

        def get_next(self) -> dict[str, Any] | None:
            found = next(self.left, None)
            return None if found is None else {INPUT: found}

    quantize_static(str(source), str(target), Reader())
    _keep_metadata(source, target)


def nncf(source: Path, target: Path, pixels: Images, model_type: str) -> None:
    """NNCF's post-training quantization of an ONNX model."""
    import nncf as package  # type: ignore[import-not-found]  # no dependency of ours
    import onnx

    options = {"model_type": package.ModelType(model_type)} if model_type else {}
    data = package.Dataset(pixels, lambda item: {INPUT: item})
    made = package.quantize(onnx.load(str(source)), data, subset_size=len(pixels), **options)
    onnx.save(made, str(target))
    _keep_metadata(source, target)


def modelopt(source: Path, target: Path, pixels: Images) -> None:
    """ModelOpt's INT8 with entropy, FP32 around it."""
    from modelopt.onnx.quantization import (  # type: ignore[import-not-found]  # as above
        quantize as quantize_onnx,
    )

    quantize_onnx(
        str(source),
        quantize_mode="int8",
        calibration_method="entropy",
        calibration_data={INPUT: np.concatenate(pixels)},
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(target),
    )
    _keep_metadata(source, target)


def _keep_metadata(source: Path, target: Path) -> None:
    """Give the rival's file the contract, so that it is evaluated like the others."""
    import onnx

    model = onnx.load(str(target))
    before = onnx.load(str(source), load_external_data=False)
    onnx.helper.set_model_props(model, {item.key: item.value for item in before.metadata_props})
    onnx.save(model, str(target))
    load_artifact(target)


def report(record: Record, seconds: list[float], images: int, path: Path | None) -> None:
    """Print one line per file and write them as JSON."""
    rows: list[dict[str, Any]] = []
    for item, took in zip(record.measurements, seconds, strict=True):
        if item.accuracy is None:
            continue
        agreement = item.accuracy.pixel_agreement
        rows.append(
            {
                "name": item.name,
                "miou": item.accuracy.miou,
                "drop_points": 100 * (record.measurements[0].accuracy or item.accuracy).miou
                - 100 * item.accuracy.miou,
                "pixel_agreement": 1.0 if agreement is None else agreement,
                "seconds": took,
            }
        )
    click.echo("| file | mIoU | drop, points | labels equal | made in |\n|---|---|---|---|---|")
    for row in rows:
        click.echo(
            f"| {row['name']} | {100 * row['miou']:.2f} | {row['drop_points']:.2f} | "
            f"{row['pixel_agreement']:.2%} | {row['seconds']:.0f} s |"
        )
    if path:
        content = {
            "created": record.created,
            "data": record.protocol.data,
            "images": record.protocol.images,
            "calibration_images": images,
            "cpu": record.environment.cpu,
            "versions": {name: _version(name) for name in PACKAGES},
            "rows": rows,
        }
        write_text(path, json.dumps(content, indent=1) + "\n")


PACKAGES = ("segship", "onnxruntime", "nncf", "nvidia-modelopt")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
