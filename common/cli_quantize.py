"""The options of `segship quantize`."""

from __future__ import annotations

import click

from .cli_options import COUNT, FILE, FORM, OPSETS, Command, add_options

# what a profile, a method or a strategy is called stands in optimize/quantize and calibration,
# which import numpy: the names are checked against them by a test
PROFILES = ("auto", "cpu-onnxruntime", "cpu-openvino", "tensorrt10", "tensorrt8")
METHODS = ("mse", "percentile", "entropy", "minmax")

_OPTIONS = (
    click.option("-o", "--out", type=FILE, required=True, metavar="FILE", help="ONNX to write."),
    click.option(
        "--precision",
        type=click.Choice(("int8", "int8-all", "fp16", "mixed")),
        required=True,
        help="int8: products; int8-all: norms, softmax and sums as well.",
    ),
    click.option(
        "--float",
        "float_type",
        type=click.Choice(("auto", "fp32", "fp16")),
        default="auto",
        show_default=True,
        help="Around INT8; auto is the profile's, fp16 for tensorrt10.",
    ),
    click.option("--data", required=True, metavar="SPEC", help="Images to calibrate on."),
    click.option(
        "--profile",
        type=click.Choice(PROFILES),
        default="auto",
        show_default=True,
        help="The target; it decides the form of INT8.",
    ),
    click.option(
        "--method",
        type=click.Choice(METHODS),
        default="mse",
        show_default=True,
        help="How a range is chosen from what was seen.",
    ),
    click.option(
        "--percentile",
        type=click.FloatRange(50, 100, min_open=True),
        default=99.99,
        show_default=True,
        help="What --method percentile keeps.",
    ),
    click.option("--images", type=COUNT, default=128, show_default=True, help="How many of them."),
    click.option("--seed", type=int, default=0, show_default=True, help="Of their choice."),
    click.option(
        "--strategy",
        type=click.Choice(("random", "stratified")),
        default="random",
        show_default=True,
        help="Choose at random, or so that every class is seen.",
    ),
    click.option(
        "--eval",
        "evaluation",
        metavar="SPEC",
        help="Data to judge on; images of it are refused for calibration.",
    ),
    click.option(
        "--max-miou-drop",
        type=click.FloatRange(min=0),
        metavar="POINTS",
        help="Exit with 1 where the mIoU on --eval drops by more; the file is kept.",
    ),
    click.option(
        "--allow-overlap", is_flag=True, help="Calibrate on images of --eval all the same."
    ),
    click.option("--no-scaling", is_flag=True, help="Leave out the exact scaling before export."),
    click.option(
        "--bias-correction/--no-bias-correction",
        default=False,
        show_default=True,
        help="Let biases make up for the mean each INT8 product loses.",
    ),
    click.option(
        "--rounding",
        type=click.Choice(("nearest", "adaptive")),
        default="nearest",
        show_default=True,
        help="adaptive: weights up or down by the error of their product (minutes).",
    ),
    click.option(
        "--exclude",
        multiple=True,
        metavar="PART|NODE",
        help="Keep it in float, as --explain names it (repeatable).",
    ),
    click.option(
        "--ranges", type=FILE, metavar="FILE", help="Keep the ranges there, and use those kept."
    ),
    *FORM,
    click.option(
        "--opset",
        type=click.Choice(OPSETS),
        help="ONNX operator set (the profile's: 19 for tensorrt10, else 17).",
    ),
    click.option("--explain", is_flag=True, help="Say per node: precision, why, range, price."),
    click.option(
        "--trials",
        type=click.IntRange(min=2),
        default=12,
        show_default=True,
        help="Graphs --precision mixed measures at most; kept in FILE.trials.json.",
    ),
    click.option("--threads", type=COUNT, metavar="N", help="Of its clock (physical cores)."),
    click.option("--record", type=FILE, help="Write the evaluation as a record."),
    click.option("--html", type=FILE, help="Write the evaluation as one offline HTML file."),
    click.option("--markdown", type=FILE, help="Write its tables as Markdown."),
)


def quantize_options(command: Command) -> Command:
    """Add what describes a quantization."""
    return add_options(command, _OPTIONS)
