"""What does exact scaling save when a model with outlier channels is rounded to INT8?

    python benchmarks/exact_scaling.py CHECKPOINT --data camvid:DIR \
        --json benchmarks/results/b0-exact-scaling.json

Simulates INT8 in torch (weights per channel, activations per tensor, both symmetric; LayerNorm,
softmax and GELU in float) on the checkpoint and on its outlier twin (tests/optimize), calibrated
on `@train` with the largest |x|, evaluated on `@val`. Prints a Markdown table: mIoU, and the power
of the FP32 logits over that of their error, in dB.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from segship.benchmark.accuracy import AccuracyRule, measure_accuracy
from segship.benchmark.subject import Subject
from segship.calibration.calibration_set import open_calibration
from segship.calibration.channel_maxima import channel_maxima
from segship.common.errors import InputError
from segship.common.files import write_text
from segship.data.spec import open_dataset
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.models.segformer import SegFormer
from segship.optimize.exact import exact_rewrites
from segship.optimize.layer_norm import FoldLayerNorms
from segship.optimize.passes import Pass
from segship.optimize.scaling.adaround import collect_grams, round_model
from segship.optimize.scaling.alpha import choose_alpha
from segship.optimize.scaling.bias_correction import correct_model
from segship.optimize.scaling.equalize import EqualizeWeights
from segship.optimize.scaling.fake_quant import fake_quantize_model, layer_ranges
from segship.optimize.scaling.smooth import SmoothScaling
from segship.runtimes.torch_session import TorchSession
from segship.tests.optimize.outlier_twin import outlier_twin

Images = Sequence[NDArray[Any]]
ALPHA_IMAGES = 4  # every candidate scale is tried on so many


@click.command()
@click.argument("checkpoint")
@click.option("--data", required=True, help="Data set with the splits train and val.")
@click.option("--images", default=16, show_default=True, help="Calibration images.")
@click.option("--limit", type=int, help="Evaluation images; all of them by default.")
@click.option("--threads", default=2, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    checkpoint: str, data: str, images: int, limit: int | None, threads: int, json_path: Path | None
) -> None:
    """Evaluate every variant in one pass over the images, print the table and keep it."""
    loaded = load_checkpoint(checkpoint)
    contract = loaded.contract
    calibration = list(open_calibration(f"{data}@train", contract, images=images).pixels())
    with ExitStack() as stack:
        first = ComparedSession(loaded, loaded.model, threads, None)
        sessions = {("float", "FP32"): first}
        for network, name, model in variants(loaded.model, calibration):
            sessions[network, name] = ComparedSession(loaded, model, threads, first)
            click.echo(f"made: {network}, {name}", err=True)
        for session in sessions.values():
            stack.enter_context(session)
        rows, count = evaluated(sessions, loaded, data, limit)
    click.echo(f"{count} images, calibrated on {len(calibration)}\n")
    click.echo("| network | variant | mIoU | signal to noise |\n| --- | --- | --- | --- |")
    for row in rows:
        ratio = row["sqnr_db"]
        noise = "" if ratio is None else f"{ratio:.1f} dB"
        click.echo(f"| {row['network']} | {row['name']} | {100 * row['miou']:.2f} | {noise} |")
    if json_path:
        content = {"images": count, "calibration_images": len(calibration), "rows": rows}
        write_text(json_path, json.dumps(content, indent=1) + "\n")


class ComparedSession(TorchSession):
    """A model in torch that adds up how far its logits are from those `reference` gave last."""

    def __init__(
        self, loaded: Checkpoint, model: SegFormer, threads: int, reference: ComparedSession | None
    ) -> None:
        """Open `model` with the contract of `loaded`; None compares with nothing."""
        super().__init__(replace(loaded, model=model), "fp32", threads)
        self.reference, self.signal, self.noise = reference, 0.0, 0.0
        self.last: NDArray[Any] | None = None

    def _run(self, pixels: NDArray[Any]) -> dict[str, NDArray[Any]]:
        outputs = super()._run(pixels)
        self.last = outputs[self.contract.heads[0]].astype(np.float64)
        if self.reference is not None and self.reference.last is not None:
            self.signal += float(np.square(self.reference.last).sum())
            self.noise += float(np.square(self.last - self.reference.last).sum())
        return outputs

    @property
    def sqnr_db(self) -> float | None:
        """Signal to noise of the logits over all images; None where nothing was compared."""
        return 10 * math.log10(self.signal / self.noise) if self.noise else None


def evaluated(
    sessions: dict[tuple[str, str], ComparedSession],
    loaded: Checkpoint,
    data: str,
    limit: int | None,
) -> tuple[list[dict[str, Any]], int]:
    """Return a row per session, the reference first, and the number of images."""
    subjects = [
        Subject(", ".join(names), session, loaded.contract) for names, session in sessions.items()
    ]
    dataset = open_dataset(f"{data}@val", contract=loaded.contract)
    rule = AccuracyRule(limit=limit, replicates=10, examples=0)
    result = measure_accuracy(subjects, dataset, palette=dataset.palette, rule=rule)
    rows = []
    for names, accuracy in zip(sessions, result.accuracies, strict=True):
        if accuracy is None:
            raise InputError(f"Expected labels to judge on, but {data}@val has none.")
        values = {"miou": accuracy.miou, "sqnr_db": sessions[names].sqnr_db}
        rows.append({"network": names[0], "name": names[1], **values})
    return rows, result.images


def variants(model: SegFormer, images: Images) -> Iterator[tuple[str, str, SegFormer]]:
    """Yield every model of the table with its network's name and its own."""
    for network, start in (("checkpoint", model), ("outlier twin", outlier_twin(model))):
        for name, made in _of_network(start, images):
            yield network, name, made


def _of_network(start: SegFormer, images: Images) -> Iterator[tuple[str, SegFormer]]:
    yield "plain network", _int8(start, images)
    yield "rewrites", _int8(_rewritten(start), images)
    yield "rewrites, weight equalization", _int8(_rewritten(start, EqualizeWeights()), images)
    half, chosen = _scaling(start, images)
    yield "rewrites, scaled with alpha 0.5", _int8(_rewritten(start, half), images)
    scaled = _rewritten(start, chosen)
    quantized = _int8(scaled, images)
    yield "rewrites, scaled with chosen alphas", copy.deepcopy(quantized)
    correct_model(scaled, quantized, images)
    yield "the same, corrected biases", quantized
    weights = round_model(scaled, collect_grams(scaled, images))
    rounded = fake_quantize_model(scaled, layer_ranges(scaled, images), weights=weights)
    correct_model(scaled, rounded, images)
    yield "the same, adaptive rounding and corrected biases", rounded
    level = EqualizeWeights().run(FoldLayerNorms().run(copy.deepcopy(start)).model).model
    both = _rewritten(start, EqualizeWeights(), _scaling(level, images, folded=True)[1])
    yield "rewrites, equalized, then chosen alphas (`segship quantize`)", _int8(both, images)


def _scaling(
    model: SegFormer, images: Images, *, folded: bool = False
) -> tuple[SmoothScaling, SmoothScaling]:
    """Return scaling with alpha 0.5 and with one per site, for what `FoldLayerNorms` leaves."""
    ready = model if folded else FoldLayerNorms().run(copy.deepcopy(model)).model
    maxima = channel_maxima(ready, images)
    choices = choose_alpha(ready, maxima, images[:ALPHA_IMAGES])
    alphas: dict[str, float | None] = dict.fromkeys(maxima)
    alphas |= {site: choice.alpha for site, choice in choices.items()}
    return SmoothScaling(maxima), SmoothScaling(maxima, alphas=alphas)


def _rewritten(model: SegFormer, *scaling: Pass) -> SegFormer:
    return exact_rewrites(scaling).run(model).model


def _int8(model: SegFormer, images: Images) -> SegFormer:
    return fake_quantize_model(model, layer_ranges(model, images))


if __name__ == "__main__":
    main()
