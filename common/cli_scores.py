"""Options for what is scored beside mIoU, and for further files of the result."""

from __future__ import annotations

from pathlib import Path

import click

SCORES = (
    click.option(
        "--boundary",
        metavar="TOLERANCE",
        help="Boundary F-score, a boundary met within 3 (px) or 0.75% (of the diagonal).",
    ),
    click.option(
        "--corruptions",
        metavar="LIST",
        help="Score damaged images too: all, or brightness, contrast, noise, blur, jpeg=10, ….",
    ),
    click.option(
        "--confusion",
        type=click.Path(path_type=Path),
        help="Write the confusion matrices as .png or .csv.",
    ),
    click.option(
        "--table",
        type=click.Path(path_type=Path),
        help="Write one row per model as .md, .tex or .csv.",
    ),
    click.option(
        "--mlflow",
        metavar="URI",
        help="Log the record to MLflow: a server, sqlite:///FILE or a folder.",
    ),
)
