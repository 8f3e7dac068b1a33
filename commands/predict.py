"""`segship predict`: overlays and labels of images, videos, cameras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..common.cli_options import COUNT, FILE, runtime_options
from .shared import aside


@click.command()
@click.argument("artifact")
@click.argument("images", type=FILE, metavar="IMAGE|FOLDER|VIDEO|camera:N")
@click.option("-o", "--out", type=FILE, required=True, metavar="FOLDER",
              help="Where they go; for a video also FILE.mp4.")  # fmt: skip  # two lines
@click.option("--alpha", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="Opacity of the labels over the photo.")  # fmt: skip  # as above
@click.option("--frames", type=COUNT, metavar="N", help="Of a video: stop after N.")
@runtime_options
def predict(
    artifact: str, images: Path, out: Path, alpha: float, frames: int | None, **options: Any
) -> None:
    """Write an overlay and a label PNG for each image, and its depth where the model has it.

    Of a video or a camera: one video of overlays, with depth at the right where there is one, and
    how many frames per second that went.

    Example: segship predict model.onnx photos/ -o predictions/
    """
    from ..runtimes.video_file import is_video

    if is_video(images):
        from ..runtimes.video import predict_video

        run = predict_video(artifact, images, out, alpha=alpha, limit=frames, **options)
        aside(run.words())
        return click.echo(str(run.path))
    if frames is not None:
        raise click.UsageError("--frames is for videos and cameras: leave it out.")
    from ..runtimes.predict import predict as predict_images

    for item in predict_images(artifact, images, out, alpha=alpha, **options):
        click.echo("  ".join(map(str, item.files)))
