"""What the commands share: option types, groups of options, and the check of output paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..runtimes.catalog import PRECISIONS, RUNTIMES
from .cli_scores import SCORES
from .errors import SegshipError
from .sizes import parse_size

Command = TypeVar("Command", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)


class SizeType(click.ParamType[tuple[int, int]]):
    """A size option: `512x1024` or `512`, read as (height, width)."""

    name = "HEIGHTxWIDTH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return (height, width) in pixels, or fail in click's way."""
        if isinstance(value, tuple):
            return value
        try:
            return parse_size(value)
        except SegshipError as error:
            self.fail(str(error), param, ctx)


class ListType(click.ParamType[tuple[Any, ...]]):
    """A comma-separated list of another type: `1,2,4`, `512,512x1024`."""

    def __init__(self, item: click.ParamType[Any], metavar: str) -> None:
        """Keep the type of each item and how the list is shown in help."""
        self.item = item
        self.name = metavar

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Return the converted items in the order given."""
        if isinstance(value, tuple):
            return value
        return tuple(self.item.convert(part, param, ctx) for part in value.split(","))


SIZE = SizeType()
SIZES = ListType(SIZE, "HxW,…")
COUNTS = ListType(COUNT, "N,…")

_RUNTIME = (
    click.option(
        "--runtime",
        type=click.Choice(("auto", *RUNTIMES)),
        default="auto",
        show_default=True,
        help="What executes an artifact that names no runtime.",
    ),
    click.option(
        "--precision",
        type=click.Choice(("auto", *PRECISIONS)),
        default="auto",
        show_default=True,
        help="What the runtime computes in.",
    ),
    click.option("--threads", type=COUNT, metavar="N", help="Threads (all physical cores)."),
)
OPSETS = (17, 18, 19, 20)
FORM = (  # what an ONNX file made here can look like
    click.option("--size", type=SIZE, help="Input size (the contract's)."),
    click.option("--dynamic", is_flag=True, help="Leave batch, height and width free."),
    click.option(
        "--output",
        type=click.Choice(("logits", "logits-full", "labels")),
        default="logits",
        show_default=True,
        help="Logits at 1/4, logits at full size, or labels.",
    ),
    click.option(
        "--input",
        "input_",
        type=click.Choice(("float32", "uint8")),
        default="float32",
        show_default=True,
        help="Normalised pixels, or raw ones (normalisation inside).",
    ),
)
GRAPH = (
    *FORM,
    click.option(
        "--opset",
        type=click.Choice(OPSETS),
        default=17,
        show_default=True,
        help="ONNX operator set; 17 runs on the oldest runtimes.",
    ),
)
_EXPORT = (
    click.option(
        "--to",
        type=click.Choice(("onnx", "hf")),
        default="onnx",
        show_default=True,
        help="An ONNX file, or a folder transformers loads.",
    ),
    click.option(
        "--module",
        metavar="FILE.py:CLASS",
        help="The network CHECKPOINT holds the weights of, where no reader knows it. Runs FILE.py.",
    ),
    click.option(
        "--module-args", metavar="JSON", help="What CLASS is called with: '{\"classes\": 19}'."
    ),
    *GRAPH,
    click.option("--batch", type=COUNT, default=1, show_default=True, help="Images per run."),
    click.option("--no-fold", is_flag=True, help="The plain graph, without the exact rewrites."),
    click.option("--data", metavar="SPEC", help="Check on real images of this data set as well."),
    click.option("--images", type=COUNT, default=4, show_default=True, help="How many of them."),
    click.option("--explain", is_flag=True, help="Say what each pass did and what it could not."),
)
_SCORING = (
    click.option(
        "--protocol",
        type=click.Choice(("whole", "slide")),
        help="Feed whole images (default), or overlapping windows of them at their own size.",
    ),
    click.option("--crop", type=SIZE, help="Window of --protocol slide (the contract's size)."),
    click.option("--stride", type=SIZE, help="Step between windows (3/4 of the crop)."),
    click.option("--flip", is_flag=True, help="Average with the mirrored image's probabilities."),
    click.option(
        "--at",
        type=click.Choice(("label", "input")),
        help="Score at the label file's size (default), or labels resized to the input's.",
    ),
    click.option(
        "--level",
        multiple=True,
        metavar="LEVEL",
        help="A mIoU beside the data set's: image, batch[:N], imagesegcomp[:N] (repeatable).",
    ),
    click.option(
        "--exclude",
        multiple=True,
        metavar="CLASS",
        help="Leave a class, by name or number, out of the means (repeatable).",
    ),
)
_MEASURE = (
    click.argument("artifacts", nargs=-1, required=True, metavar="ARTIFACT..."),
    *_RUNTIME,
    click.option(
        "--postprocess",
        type=click.Choice(("sparse", "dense-torch", "gpu")),
        help="How logits become labels; all give the same ones (sparse).",
    ),
    click.option("--limit", type=COUNT, metavar="N", help="Only the first N images."),
    *_SCORING,
    *SCORES,
    click.option("--json", "json_path", type=FILE, help="Write the record."),
    click.option("--html", type=FILE, help="Write the report as one offline HTML file."),
    click.option("--markdown", type=FILE, help="Write the tables as Markdown."),
)
_CLOCK = (
    click.option("--data", metavar="SPEC", help="FORMAT:PATH[@SPLIT]; without it latency only."),
    click.option("--baseline", metavar="ARTIFACT", help="What the others are compared with."),
    click.option("--latency-only", is_flag=True, help="Leave accuracy out."),
    click.option(
        "--frame-image", type=FILE, help="The photo whole frames start from (the data's first)."
    ),
    click.option(
        "--starts",
        type=click.IntRange(min=0),
        help="Fresh processes per artifact for memory and cold start (3).",
    ),
    click.option("--rounds", type=COUNT, help="Interleaved rounds of runs (20)."),
    click.option("--sizes", type=SIZES, help="Sweep over input sizes: 512,512x1024."),
    click.option("--batches", type=COUNTS, help="Sweep over batches: 1,2,4."),
    click.option("--sweep-threads", type=COUNTS, help="Sweep over threads: 1,2."),
)


def runtime_options(command: Command) -> Command:
    """Add `--runtime`, `--precision` and `--threads`."""
    return add_options(command, _RUNTIME)


def export_options(command: Command) -> Command:
    """Add what describes an ONNX file to make."""
    return add_options(command, _EXPORT)


def measure_options(command: Command) -> Command:
    """Add what `evaluate` and `benchmark` share: artifacts, data, runtime, outputs."""
    return add_options(command, _MEASURE)


def clock_options(command: Command) -> Command:
    """Add what only `benchmark` has: baseline, clock, axes of a sweep."""
    return add_options(command, _CLOCK)


def settings_option(command: Command) -> Command:
    """Add `--set KEY=VALUE`, as often as needed."""
    text = "Say what no file says: eps=1e-6, channel_order=bgr, preset=course, …"
    option = click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help=text)
    return option(command)


def json_option(command: Command) -> Command:
    """Add `--json`: print one JSON object instead of a table."""
    text = "Print JSON instead of a table."
    return click.option("--json", "as_json", is_flag=True, help=text)(command)


def add_options(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    """Add `options` to `command`, shown in the order given."""
    for option in reversed(options):
        command = option(command)
    return command


def refuse_given(ctx: click.Context, reason: str, *names: str) -> None:
    """Refuse options of those `names` that the user wrote himself.

    Raises:
        UsageError: `reason`, and the option to leave out.
    """
    for param in ctx.command.params:
        source = ctx.get_parameter_source(param.name or "")
        if param.name in names and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{reason}: leave out {param.opts[0]}.")


def check_writable(*outputs: Path | None) -> None:
    """Refuse output files that cannot be written, before minutes of work.

    Raises:
        InputError: a folder is missing or not writable, or the path is a directory.
    """
    from .files import probe_writable

    for output in outputs:
        if output is not None:
            probe_writable(output)
