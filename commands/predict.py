"""`segship predict`: overlays and labels of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..common.cli_options import FILE, runtime_options


@click.command()
@click.argument("artifact")
@click.argument("images", type=FILE, metavar="IMAGE|FOLDER")
@click.option("-o", "--out", type=FILE, required=True, metavar="FOLDER", help="Where they go.")
@click.option("--alpha", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="Opacity of the labels over the photo.")  # fmt: skip  # one option, two lines
@runtime_options
def predict(artifact: str, images: Path, out: Path, alpha: float, **options: Any) -> None:
    """Write an overlay and a label PNG for each image, and its depth where the model has it.

    Example: segship predict model.onnx photos/ -o predictions/
    """
    from ..runtimes.predict import predict as predict_images

    for item in predict_images(artifact, images, out, alpha=alpha, **options):
        click.echo("  ".join(map(str, item.files)))
