"""Does the memory of a calibration grow with its images, and how long does an image take?

    python benchmarks/calibration_memory.py CHECKPOINT --data camvid:PATH@train --size 512x1024

Exports the checkpoint at the size, then calibrates every activation on 4 and on 16 images (or
`--images`, twice), each in a fresh process, and prints the peak resident memory and the time per
image. Equal peaks mean that 500 images take no more than 16.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from segship.calibration.calibration_set import open_calibration
from segship.calibration.collect import collect_ranges
from segship.common.sizes import parse_size
from segship.optimize.export import export
from segship.runtimes.open import load_artifact


@click.command()
@click.argument("source")
@click.option("--data", required=True, help="Data specification.")
@click.option("--size", default="512x1024", show_default=True, help="HxW in pixels.")
@click.option("--images", multiple=True, default=(4, 16), show_default=True, type=int)
@click.option("--method", default="entropy", show_default=True)
def main(source: str, data: str, size: str, images: tuple[int, ...], method: str) -> None:
    """Measure one process per number of images; an ONNX file as SOURCE is measured itself."""
    if source.endswith(".onnx"):
        measure_here(Path(source), data, images[0], method)
        return
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        export(source, model, size_px=parse_size(size))
        for count in images:
            command = [sys.executable, __file__, str(model), "--data", data]
            command += ["--images", str(count), "--method", method]
            subprocess.run(command, check=True)


def measure_here(model: Path, data: str, count: int, method: str) -> None:
    """Calibrate in this process and print what it took."""
    chosen = open_calibration(data, load_artifact(model).contract, images=count)
    started, cpu = time.perf_counter(), time.process_time()
    ranges = collect_ranges(model, None, chosen.pixels(), method=method, progress=False)
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(
        f"{count} images, {len(ranges.tensors)} tensors, {method}: peak {peak_mib:.0f} MiB, "
        f"{wall_s / ranges.images:.2f} s and {cpu_s / ranges.images:.2f} s of processor per image"
    )


if __name__ == "__main__":
    main()
