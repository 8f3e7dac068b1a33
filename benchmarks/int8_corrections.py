"""Do bias correction and adaptive rounding bring an INT8 graph nearer to its float parent?

    python benchmarks/int8_corrections.py CHECKPOINT --data camvid:PATH

Writes the float graph of the checkpoint and of its outlier twin (tests/optimize), scaled exactly,
and their INT8 graphs as `segship quantize` does, calibrated on `@train`; compares them on `@val`
on ONNX Runtime. Prints a Markdown table: labels equal to the float graph's, and the
signal-to-noise ratio of the logits over all images.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx

from segship.common.files import sha256_file
from segship.data.loader import prepare
from segship.data.spec import open_dataset
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.hf_write import save_hf_checkpoint
from segship.optimize.quantize.float_graph import FloatGraph, float_graph
from segship.optimize.quantize.makers import make_int8
from segship.optimize.quantize.profile import Profile, read_profile
from segship.optimize.quantize.request import QuantizeRequest
from segship.runtimes.labels import labels_from_output
from segship.runtimes.open import open_session
from segship.runtimes.session import Session
from segship.tests.optimize.outlier_twin import outlier_twin

VARIANTS: dict[str, dict[str, Any]] = {
    "nearest": {},
    "bias correction": {"bias_correction": True},
    "adaptive rounding": {"rounding": "adaptive"},
    "both": {"bias_correction": True, "rounding": "adaptive"},
}


@click.command()
@click.argument("checkpoint")
@click.option("--data", required=True, help="Data set with the splits train and val.")
@click.option("--profile", "profiles", multiple=True, default=("tensorrt8", "cpu-openvino"))
@click.option("--images", default=128, show_default=True, help="Calibration images.")
@click.option("--limit", type=int, help="Evaluation images; all of them by default.")
@click.option("--no-adaptive", is_flag=True, help="Leave out the rows with adaptive rounding.")
def main(
    checkpoint: str,
    data: str,
    profiles: tuple[str, ...],
    images: int,
    limit: int | None,
    no_adaptive: bool,
) -> None:
    """Print the table, a row per model, profile and variant."""
    click.echo("| model | profile | INT8 | labels equal | logits, dB |\n|---|---|---|---|---|")
    names = [name for name in VARIANTS if not (no_adaptive and "rounding" in VARIANTS[name])]
    with tempfile.TemporaryDirectory() as folder:
        for label, source in _models(checkpoint, Path(folder)):
            for name in profiles:
                request = QuantizeRequest(
                    "int8",
                    f"{data}@train",
                    profile=name,
                    images=images,
                    opset=17,
                    ranges=Path(folder) / f"{label} {name}.json",
                )
                profile = read_profile(name)
                place = Path(folder) / f"{label} {name}"
                place.mkdir()
                floats = float_graph(source, request, profile, place, None, lambda _line: None)
                files = [_write(floats, request, profile, item, place) for item in names]
                rows = _compare(floats, files, f"{data}@val", limit)
                for item, (equal, ratio) in zip(names, rows, strict=True):
                    click.echo(f"| {label} | {name} | {item} | {equal:.3%} | {ratio:.2f} |")


def _models(checkpoint: str, folder: Path) -> Iterator[tuple[str, str]]:
    yield "checkpoint", checkpoint
    loaded = load_checkpoint(checkpoint)
    save_hf_checkpoint(outlier_twin(loaded.model, seed=3), loaded.contract, folder / "twin")
    yield "outlier twin", str(folder / "twin")


def _write(
    floats: FloatGraph, request: QuantizeRequest, profile: Profile, variant: str, folder: Path
) -> Path:
    made = make_int8(floats, replace(request, **VARIANTS[variant]), profile)
    for line in made.notes:
        click.echo(line, err=True)
    path = folder / f"{variant}.onnx"
    onnx.save(made.model, str(path))
    return path


def _compare(
    floats: FloatGraph, files: list[Path], data: str, limit: int | None
) -> list[tuple[float, float]]:
    """Return the share of equal labels and the SNR in dB of each of `files` over the images."""
    contract = floats.artifact.contract
    dataset = open_dataset(data, contract=contract)
    signal, noise = 0.0, np.zeros(len(files))
    equal, pixels = np.zeros(len(files)), 0
    with contextlib.ExitStack() as stack:
        first, *others = (
            stack.enter_context(_opened(floats, path)) for path in (floats.artifact.path, *files)
        )
        for index in range(min(limit or len(dataset), len(dataset))):
            image = prepare(dataset, index, contract).pixels
            size = (int(image.shape[2]), int(image.shape[3]))
            exact = np.array(first.run(image)["segmentation"])
            labels = labels_from_output(exact, contract, size)
            signal += float(np.square(exact, dtype=np.float64).sum())
            pixels += labels.size
            for at, session in enumerate(others):
                got = session.run(image)["segmentation"]
                noise[at] += float(np.square(got - exact, dtype=np.float64).sum())
                equal[at] += int((labels_from_output(got, contract, size) == labels).sum())
    ratios = 10 * np.log10(signal / noise)
    return [(float(a), float(b)) for a, b in zip(equal / pixels, ratios, strict=True)]


def _opened(floats: FloatGraph, path: Path) -> Session:
    artifact = replace(floats.artifact, path=path, sha256=sha256_file(path))
    return open_session(artifact, runtime="onnxruntime", precision="fp32")


if __name__ == "__main__":
    main()
