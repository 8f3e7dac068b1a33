"""What does ONNX Runtime's entropy calibrator do, and what does it hold in memory, beside ours?

    python benchmarks/calibrators.py CHECKPOINT --data camvid:DIR@train

Exports the checkpoint, then calibrates every activation with both, on two numbers of images, each
in a fresh process. Prints the tensors, the peak resident memory, and how far the thresholds of the
inputs of Conv and MatMul lie below the greatest magnitude: 1 clips nothing.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from segship.calibration.calibration_set import open_calibration
from segship.calibration.collect import collect_ranges
from segship.common.sizes import parse_size
from segship.optimize.export import export
from segship.runtimes.open import load_artifact

Limits = dict[str, tuple[float, float]]  # tensor → low, high
KINDS = ("ONNX Runtime", "segship")


@click.command()
@click.argument("source")
@click.option("--data", required=True, help="Calibration images.")
@click.option("--size", default="512x512", show_default=True, help="HxW in pixels.")
@click.option("--images", multiple=True, default=(4, 8), show_default=True, type=int)
@click.option("--kind", type=click.Choice(KINDS), help="Measure here; SOURCE is an ONNX file.")
def main(source: str, data: str, size: str, images: tuple[int, ...], kind: str | None) -> None:
    """Measure one process per calibrator and number of images."""
    if kind is not None:
        measure_here(Path(source), data, images[0], kind)
        return
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        export(source, model, size_px=parse_size(size))
        for name in KINDS:
            for count in images:
                command = [sys.executable, __file__, str(model), "--data", data, "--kind", name]
                subprocess.run([*command, "--images", str(count)], check=True)


def measure_here(model: Path, data: str, count: int, kind: str) -> None:
    """Calibrate in this process and print what came out."""
    chosen = open_calibration(data, load_artifact(model).contract, images=count)
    pixels = chosen.pixels()
    found = _ours(model, pixels) if kind == KINDS[1] else _onnx_runtimes(model, pixels)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    whole = collect_ranges(model, _operands(model), chosen.pixels(), method="minmax")
    kept = {
        name: min(1.0, max(abs(low), abs(high)) / whole.tensors[name].peak)
        for name, (low, high) in found.items()
        if name in whole.tensors and whole.tensors[name].peak > 0
    }
    shares = np.array(list(kept.values()))
    click.echo(
        f"{kind}, entropy, {count} images: {len(found)} tensors, peak {peak_mib:.0f} MiB; "
        f"threshold / max of {len(kept)} inputs of Conv and MatMul: "
        f"median {np.median(shares):.3f}, least {shares.min():.3f}, "
        f"{(shares > 0.999).mean():.0%} clip nothing"
    )


def _ours(model: Path, pixels: Iterator[NDArray[Any]]) -> Limits:
    ranges = collect_ranges(model, None, pixels, method="entropy", progress=False)
    return {name: (item.low, item.high) for name, item in ranges.tensors.items()}


def _onnx_runtimes(model: Path, pixels: Iterator[NDArray[Any]]) -> Limits:
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def get_next(self) -> dict[str, Any] | None:
            found = next(pixels, None)
            return None if found is None else {"pixels": found}

    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            model,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.Entropy,
        )
        calibrator.collect_data(Reader())
        found = calibrator.compute_data().data
    return {
        name: (float(np.min(item.range_value[0])), float(np.max(item.range_value[1])))
        for name, item in found.items()
    }


def _operands(model: Path) -> list[str]:
    """Return the activations that Conv and MatMul read."""
    import onnx

    graph = onnx.load(str(model)).graph
    constants = {item.name for item in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    read = [node for node in graph.node if node.op_type in ("Conv", "MatMul")]
    return sorted({name for node in read for name in node.input[:2]} - constants)


if __name__ == "__main__":
    main()
