"""The options of `segship build`."""

from __future__ import annotations

import click

from .cli_options import COUNT, COUNTS, FILE, SIZES, Command, add_options

# what these are called stands in optimize/tensorrt/request.py, which imports numpy: a test
# compares the names
PROFILES = ("auto", "tensorrt8", "tensorrt10")
HARDWARE = ("none", "ampere-plus", "same-compute-capability")

_OPTIONS = (
    click.option("-o", "--out", type=FILE, required=True, metavar="FILE.engine",
                 help="Engine to write; FILE.engine.json says what it is."),
    click.option("--profile", type=click.Choice(PROFILES), default="auto", show_default=True,
                 help="The TensorRT it is for: refused where another is installed."),
    click.option("--fp16", is_flag=True,
                 help="Let TensorRT 8 choose FP16; later ones take it from the graph alone."),
    click.option("--tf32", is_flag=True, help="Allow 10-bit mantissas in FP32 products."),
    click.option("--batch", "batches", type=COUNTS,
                 help="One, or smallest,tuned for,largest: 1,4,8 (free batch)."),
    click.option("--sizes", "sizes_px", type=SIZES,
                 help="The same for sizes: 512x512,512x1024,1024x1024 (free sizes)."),
    click.option("--per-size", is_flag=True,
                 help="An optimization profile for each of --sizes."),
    click.option("--workspace", "workspace_mib", type=COUNT, metavar="MIB",
                 help="Limit of scratch memory (all of the device)."),
    click.option("--level", type=click.IntRange(0, 5), help="How long it searches (3)."),
    click.option("--no-timing-cache", "timing_cache", flag_value=False, default=True,
                 help="Time every kernel anew."),
    click.option("--hardware", type=click.Choice(HARDWARE), default="none", show_default=True,
                 help="On which other GPUs it shall run; can be slower."),
    click.option("--version-compat", "version_compatible", is_flag=True,
                 help="Let later TensorRT versions run it; can be slower."),
    click.option("--sparse", is_flag=True,
                 help="Use 2:4 sparse weights, and count how many are."),
    click.option("--dla", "dla_core", type=click.IntRange(min=0), metavar="CORE",
                 help="For a Jetson's DLA, where the graph allows it."),
    click.option("--repeat", type=COUNT, default=1, show_default=True, metavar="N",
                 help="Build N times and compare speed and labels; the first is kept."),
    click.option("--layers", is_flag=True, help="Print every layer of the engine."),
)  # fmt: skip  # one option per pair of lines


def build_options(command: Command) -> Command:
    """Add what describes a TensorRT build; `layers` is for the printing alone."""
    return add_options(command, _OPTIONS)
