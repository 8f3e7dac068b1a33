"""Which maker writes the FP16 graph that is right, and with how many casts?

    python benchmarks/fp16_makers.py CHECKPOINT --data camvid:DIR@train --eval camvid:DIR@val \
        --json benchmarks/results/b0-fp16-makers.json

Every maker converts the same float graphs: of the checkpoint, of its outlier twin, and of the twin
whose head passes 65504. Files are judged as FP16 hardware computes them (every result rounded) and,
beside it, as ONNX Runtime's CPU kernels do, which keep FP32 between the nodes. ModelOpt and
onnxconverter-common are no dependencies of segship: where one is missing its rows are left out.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from segship.calibration.calibration_set import open_calibration
from segship.calibration.channel_maxima import channel_maxima
from segship.calibration.collect import collect_ranges
from segship.common.files import write_text
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.optimize.export import export
from segship.optimize.layer_norm import FoldLayerNorms
from segship.optimize.passes import Pipeline
from segship.optimize.quantize.fp16 import to_fp16
from segship.optimize.quantize.verdict import compare_artifacts
from segship.optimize.scaling.fp16 import FitFp16
from segship.runtimes.open import open_session
from segship.tests.optimize.outlier_twin import half_precision_twin, outlier_twin

Images = list[NDArray[Any]]
Maker = Callable[[Path, Path, Images], Any]


@click.command()
@click.argument("checkpoint")
@click.option("--data", required=True, help="Calibration images.")
@click.option("--eval", "evaluation", required=True, help="Images the files are compared on.")
@click.option("--images", default=16, show_default=True, help="For calibration.")
@click.option("--limit", default=20, show_default=True, help="Images to compare on.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    checkpoint: str, data: str, evaluation: str, images: int, limit: int, json_path: Path | None
) -> None:
    """Convert with every maker, compare, print and keep the table."""
    source = load_checkpoint(checkpoint)
    contract = source.contract
    known = list(open_calibration(data, contract, images=images, evaluation=evaluation).pixels())
    judged = list(open_calibration(evaluation, contract, images=limit).pixels())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, graph, maker, make in cases(source, known, Path(folder)):
            try:
                rows.append(row(name, maker, make, graph, known, judged))
            except ImportError as error:
                click.echo(f"{maker} left out: {error}", err=True)
                continue
            click.echo("  ".join(f"{key} {value}" for key, value in rows[-1].items()))
    if json_path is not None:
        write_text(json_path, json.dumps(rows, indent=1) + "\n")


def cases(
    source: Checkpoint, known: Images, folder: Path
) -> Iterator[tuple[str, tuple[Path, Path], str, Maker]]:
    """Yield network, (file to compare with, file to convert), maker's name, maker."""
    import torch

    first = torch.from_numpy(known[0])
    networks = {
        "checkpoint": source.model,
        "outlier twin": outlier_twin(source.model),
        "twin past 65504": half_precision_twin(source.model, first),
    }
    for name, model in networks.items():
        path = folder / f"{name}.onnx"
        export(replace(source, model=model), path)
        for maker, make in MAKERS.items():
            yield name, (path, path), maker, make
        fit = FitFp16(channel_maxima(Pipeline([FoldLayerNorms()]).run(model).model, known))
        fitted = Pipeline([FoldLayerNorms(), fit]).run(model).model
        export(replace(source, model=fitted), folder / "fitted.onnx")
        yield name, (path, folder / "fitted.onnx"), "segship, rescaled", own


def row(
    name: str,
    maker: str,
    make: Maker,
    graphs: tuple[Path, Path],
    known: Images,
    judged: Images,
) -> dict[str, Any]:
    """Convert, compare in both ways, and return what the table says."""
    import onnx

    reference, path = graphs
    target = path.with_suffix(".half.onnx")
    started = time.perf_counter()
    model = make(path, target, known)
    seconds = time.perf_counter() - started
    onnx.save(model, str(target))
    verdict = compare_artifacts(reference, target, judged)
    with open_session(target, runtime="onnxruntime") as session:
        hidden = compare_artifacts(reference, session, judged)
    return {
        "network": name,
        "maker": maker,
        "casts": sum(node.op_type == "Cast" for node in model.graph.node),
        "mib": round(target.stat().st_size / (1 << 20), 2),
        "seconds": round(seconds, 1),
        "images": verdict.images,
        "agreement": verdict.agreement,
        "max_abs": verdict.to_json()["heads"][0]["max_abs"],
        "not_finite": verdict.not_finite,
        "first": verdict.first,
        "agreement_on_cpu_kernels": hidden.agreement,
    }


def own(path: Path, target: Path, known: Images) -> Any:
    """Convert with segship: calibrated ranges, islands where they are needed."""
    import onnx

    del target
    ranges = collect_ranges(path, None, known, method="minmax", progress=False)
    return to_fp16(onnx.load(str(path)), ranges).model


def common(path: Path, target: Path, known: Images) -> Any:
    """Convert with onnxconverter-common, which looks at no data."""
    import onnx

    del target, known
    float16 = import_module("onnxconverter_common.float16")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a line per constant it clips
        return float16.convert_float_to_float16(onnx.load(str(path)), keep_io_types=True)


def autocast(path: Path, target: Path, known: Images) -> Any:
    """Convert with ModelOpt AutoCast on the calibration images' first (it takes one batch)."""
    convert = import_module("modelopt.onnx.autocast").convert_to_mixed_precision
    data = target.with_suffix(".npz")
    np.savez(data, pixels=known[0])
    return convert(
        str(path), low_precision_type="fp16", calibration_data=str(data), keep_io_types=True,
        providers=["cpu"],
    )  # fmt: skip  # one call


MAKERS: dict[str, Maker] = {
    "segship": own,
    "onnxconverter-common": common,
    "ModelOpt AutoCast": autocast,
}

if __name__ == "__main__":
    main()
