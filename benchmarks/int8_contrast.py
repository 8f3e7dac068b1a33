"""What do the usual INT8 quantizers lose on the same network, beside ours?

    python benchmarks/int8_contrast.py CHECKPOINT --data camvid:DIR@train --eval camvid:DIR@val \
        --json benchmarks/results/b0-int8-contrast.json
    ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI python benchmarks/int8_contrast.py … --only openvino

Twice: on the checkpoint and on its outlier twin (tests/optimize/outlier_twin.py). Every file is
calibrated on the same images and evaluated on the same images. NNCF quantizes the ONNX graph and,
beside it, the model OpenVINO reads, which is run on OpenVINO's INT8 kernels and, with its
FakeQuantize operators as float arithmetic, without them: the first shows what a user gets, the
second what the quantizer did. Rows whose package is missing are left out and named.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from segship.benchmark.accuracy import AccuracyRule, measure_accuracy
from segship.benchmark.subject import Subject
from segship.benchmarks.int8_rivals import (
    DEPTHWISE,
    Images,
    Maker,
    OpenVinoModelSession,
    modelopt,
    nncf_onnx,
    nncf_openvino,
    onnx_runtime,
)
from segship.calibration.calibration_set import open_calibration
from segship.common.errors import InputError
from segship.common.files import write_text
from segship.common.machine import read_processor
from segship.data.contract import Contract
from segship.data.spec import open_dataset
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.models.checkpoints.hf_write import save_hf_checkpoint
from segship.optimize.export import export
from segship.optimize.quantize.quantize import quantize
from segship.runtimes.open import open_session
from segship.runtimes.session import Session
from segship.tests.optimize.outlier_twin import outlier_twin

TWIN_SEED = 3
OWN: dict[str, dict[str, Any]] = {
    "segship int8": {"precision": "int8"},
    "segship int8, without scaling": {"precision": "int8", "scaling": False},
    "segship int8-all": {"precision": "int8-all"},
}
RIVALS: dict[str, tuple[str, Maker]] = {
    "ONNX Runtime MinMax, plain graph": ("plain", onnx_runtime),
    "NNCF default, plain graph": ("plain", nncf_onnx("")),
    "NNCF transformer, plain graph": ("plain", nncf_onnx("transformer")),
    "ModelOpt entropy, rewritten graph": ("rewritten", modelopt),
}
ON_OPENVINO: dict[str, Maker] = {
    "NNCF default, OpenVINO's plain graph": nncf_openvino(""),
    "NNCF transformer, OpenVINO's plain graph": nncf_openvino("transformer"),
    "NNCF default, the same, depthwise in float": nncf_openvino("", DEPTHWISE),
}
# how a model of OpenVINO's is run: name, precision hint, FakeQuantize as float arithmetic
WAYS = (
    ("OpenVINO FP32", "f32", False),
    ("OpenVINO BF16", "bf16", False),
    ("OpenVINO, INT8 simulated", "f32", True),
)


@dataclass(frozen=True)
class Row:
    """One file on one runtime; `drop_points` against the network's float graph."""

    network: str
    name: str
    runtime: str
    miou: float
    drop_points: float
    pixel_agreement: float


@click.command()
@click.argument("checkpoint")
@click.option("--data", required=True, help="Calibration images.")
@click.option("--eval", "evaluation", required=True, help="Evaluation images.")
@click.option("--images", default=64, show_default=True)
@click.option("--limit", type=int, help="Evaluate on the first images only.")
@click.option("--only", type=click.Choice(["onnx", "openvino"]), help="Leave the others out.")
@click.option("--network", type=click.Choice(["checkpoint", "outlier twin"]), help="One alone.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    checkpoint: str,
    data: str,
    evaluation: str,
    images: int,
    limit: int | None,
    only: str | None,
    network: str | None,
    json_path: Path | None,
) -> None:
    """Quantize in every way, evaluate the files of a network in one pass, print the table."""
    source = load_checkpoint(checkpoint)
    found = open_calibration(data, source.contract, images=images, evaluation=evaluation)
    pixels = list(found.pixels())
    rows: list[Row] = []
    networks = {
        "checkpoint": source.model,
        "outlier twin": outlier_twin(source.model, seed=TWIN_SEED),
    }
    for label in networks if network is None else (network,):
        with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
            folder = Path(place)
            save_hf_checkpoint(networks[label], source.contract, folder / "checkpoint")
            made = files(replace(source, model=networks[label]), folder, data, images, pixels, only)
            sessions = [(name, on, stack.enter_context(session)) for name, on, session in made]
            found_rows = measured(label, sessions, source.contract, evaluation, limit)
        show(found_rows)
        rows += found_rows
    if json_path:
        content = about(evaluation, limit, len(pixels)) | {"rows": [asdict(row) for row in rows]}
        write_text(json_path, json.dumps(content, indent=1) + "\n")


def show(rows: list[Row]) -> None:
    """Print one network's table."""
    click.echo(
        "\n| network | file | on | mIoU | drop, points | labels equal |\n" + "|---" * 6 + "|"
    )
    for row in rows:
        click.echo(
            f"| {row.network} | {row.name} | {row.runtime} | {100 * row.miou:.2f} | "
            f"{row.drop_points:.2f} | {row.pixel_agreement:.2%} |"
        )


def files(
    source: Checkpoint,
    folder: Path,
    data: str,
    images: int,
    pixels: Images,
    only: str | None,
) -> Iterator[tuple[str, str, Session]]:
    """Yield (label, runtime, session) of every file, the float graph's first."""
    for kind, fold in (("plain", False), ("rewritten", True)):
        export(source, folder / f"{kind}.onnx", fold=fold)
    yield "float", "ONNX Runtime", open_session(folder / "rewritten.onnx", runtime="onnxruntime")
    if only != "openvino":
        for label, options in OWN.items():
            target = folder / f"{label}.onnx"
            _own(folder, target, data, images, profile="tensorrt8", **options)
            yield label, "ONNX Runtime", open_session(target, runtime="onnxruntime")
        for label, (kind, make) in RIVALS.items():
            target = folder / f"{label}.onnx"
            if _made(label, lambda: make(folder / f"{kind}.onnx", target, pixels)):  # noqa: B023 - called at once
                yield label, "ONNX Runtime", open_session(target, runtime="onnxruntime")
    if only != "onnx":
        yield from _on_openvino(folder, source.contract, data, images, pixels)


def _on_openvino(
    folder: Path, contract: Contract, data: str, images: int, pixels: Images
) -> Iterator[tuple[str, str, Session]]:
    plain, target = folder / "plain.onnx", folder / "cpu-openvino.onnx"
    _own(folder, target, data, images, profile="cpu-openvino", precision="int8")
    for precision in ("fp32", "bf16"):
        session = open_session(target, runtime="openvino", precision=precision)
        yield "segship int8, cpu-openvino", f"OpenVINO {precision.upper()}", session
    for label, make in ON_OPENVINO.items():
        path = folder / f"{label}.xml"
        if _made(label, lambda: make(plain, path, pixels)):  # noqa: B023 - called at once
            for runtime, hint, simulate in WAYS:
                opened = OpenVinoModelSession(path, plain, contract, hint, simulate=simulate)
                yield label, runtime, opened


def _own(folder: Path, target: Path, data: str, images: int, **options: Any) -> None:
    quantize(folder / "checkpoint", target, data=data, images=images, **options)
    click.echo(f"made: {target.stem}", err=True)


def _made(label: str, make: Callable[[], None]) -> bool:
    try:
        make()
    except ImportError as error:
        click.echo(f"left out: {label} ({error})", err=True)
        return False
    click.echo(f"made: {label}", err=True)
    return True


def measured(
    network: str,
    sessions: list[tuple[str, str, Session]],
    contract: Contract,
    evaluation: str,
    limit: int | None,
) -> list[Row]:
    """Evaluate all sessions in one pass; the first is what the others are compared with."""
    subjects = [
        Subject(f"{label}, {runtime}", session, contract) for label, runtime, session in sessions
    ]
    dataset = open_dataset(evaluation, contract=contract)
    rule = AccuracyRule(limit=limit, replicates=10, examples=0)
    found = measure_accuracy(subjects, dataset, palette=dataset.palette, rule=rule).accuracies
    base, rows = found[0], []
    for (label, runtime, _), item in zip(sessions, found, strict=True):
        if base is None or item is None:
            raise InputError(f"Expected labels to judge on, but {evaluation} has none.")
        equal = 1.0 if item.pixel_agreement is None else item.pixel_agreement
        drop = 100 * (base.miou - item.miou)
        rows.append(Row(network, label, runtime, item.miou, drop, equal))
    return rows


def about(evaluation: str, limit: int | None, images: int) -> dict[str, Any]:
    """Return what the numbers depend on."""
    names = ("segship", "torch", "onnxruntime", "openvino", "nncf", "nvidia-modelopt")
    return {
        "data": evaluation.partition(":")[0],
        "split": evaluation.rpartition("@")[2],
        "limit": limit,
        "calibration_images": images,
        "twin_seed": TWIN_SEED,
        "cpu": read_processor().name,
        "ONEDNN_MAX_CPU_ISA": os.environ.get("ONEDNN_MAX_CPU_ISA"),
        "versions": {name: _version(name) for name in names},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
