"""What does exact scaling save when a model with outlier channels is rounded to INT8?

    python benchmarks/exact_scaling.py CHECKPOINT --data camvid:PATH

Simulates INT8 in torch (weights per channel, activations per tensor, both symmetric; LayerNorm,
softmax and GELU in float) on the checkpoint and on its outlier twin (tests/optimize), calibrated
on `@train` with the largest |x|, evaluated on `@val`. Prints a Markdown table of mIoU.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import click
from numpy.typing import NDArray

from segship.benchmark.accuracy import AccuracyRule, measure_accuracy
from segship.benchmark.subject import Subject
from segship.calibration.calibration_set import open_calibration
from segship.calibration.channel_maxima import channel_maxima
from segship.data.spec import open_dataset
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.models.segformer import SegFormer
from segship.optimize.exact import exact_rewrites
from segship.optimize.layer_norm import FoldLayerNorms
from segship.optimize.passes import Pass
from segship.optimize.scaling.alpha import choose_alpha
from segship.optimize.scaling.bias_correction import correct_model
from segship.optimize.scaling.fake_quant import fake_quantize_model, layer_ranges
from segship.optimize.scaling.smooth import SmoothScaling
from segship.runtimes.torch_session import TorchSession
from segship.tests.optimize.outlier_twin import outlier_twin

Images = Sequence[NDArray[Any]]


@click.command()
@click.argument("checkpoint")
@click.option("--data", required=True, help="Data set with the splits train and val.")
@click.option("--images", default=16, show_default=True, help="Calibration images.")
@click.option("--limit", type=int, help="Evaluation images; all of them by default.")
@click.option("--threads", default=2, show_default=True)
def main(checkpoint: str, data: str, images: int, limit: int | None, threads: int) -> None:
    """Evaluate every variant in one pass over the images and print the table."""
    loaded = load_checkpoint(checkpoint)
    contract = loaded.contract
    calibration = list(open_calibration(f"{data}@train", contract, images=images).pixels())
    models = dict(variants(loaded.model, calibration))
    with ExitStack() as stack:
        subjects = [
            Subject(name, stack.enter_context(_session(loaded, model, threads)), contract)
            for name, model in models.items()
        ]
        dataset = open_dataset(f"{data}@val", contract=contract)
        rule = AccuracyRule(limit=limit, replicates=10, examples=0)
        result = measure_accuracy(subjects, dataset, palette=dataset.palette, rule=rule)
    click.echo(f"{result.images} images, calibrated on {len(calibration)}\n")
    click.echo("| variant | mIoU |\n| --- | --- |")
    for name, accuracy in zip(models, result.accuracies, strict=True):
        click.echo(f"| {name} | {100 * accuracy.miou:.2f} |" if accuracy else f"| {name} | – |")


def variants(model: SegFormer, images: Images) -> Iterator[tuple[str, SegFormer]]:
    """Yield every model of the table with its name."""
    yield "FP32", model
    for label, start in (("checkpoint", model), ("outlier twin", outlier_twin(model))):
        yield f"{label}, INT8 of the plain network", _int8(start, images)
        yield f"{label}, INT8 after the rewrites", _int8(_rewritten(start), images)
        folded = FoldLayerNorms().run(copy.deepcopy(start)).model
        maxima = channel_maxima(folded, images)
        half = _rewritten(start, SmoothScaling(maxima))
        yield f"{label}, scaled with alpha 0.5, rewrites, INT8", _int8(half, images)
        choices = choose_alpha(folded, maxima, images[:4])
        alphas = {site: choice.alpha for site, choice in choices.items()}
        chosen = _rewritten(start, SmoothScaling(maxima, alphas=alphas))
        quantized = _int8(chosen, images)
        yield f"{label}, scaled with chosen alphas, rewrites, INT8", copy.deepcopy(quantized)
        correct_model(chosen, quantized, images)
        yield f"{label}, the same with corrected biases", quantized


def _rewritten(model: SegFormer, *scaling: Pass) -> SegFormer:
    return exact_rewrites(scaling).run(model).model


def _int8(model: SegFormer, images: Images) -> SegFormer:
    return fake_quantize_model(model, layer_ranges(model, images))


def _session(loaded: Checkpoint, model: SegFormer, threads: int) -> TorchSession:
    return TorchSession(replace(loaded, model=model), "fp32", threads)


if __name__ == "__main__":
    main()
