"""What the commands share: option types, and one way out for every error.

Exit codes: 0 fine, 1 a check failed, 2 wrong input, 70 a defect of segship, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from .errors import SegshipError
from .sizes import parse_size

EXIT_DEFECT = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
Command = TypeVar("Command", bound=Callable[..., Any])


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

    def __init__(self, item: click.ParamType[Any]) -> None:
        """Keep the type of each item."""
        self.item = item
        self.name = f"{item.name},…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Return the converted items in the order given."""
        if isinstance(value, tuple):
            return value
        return tuple(self.item.convert(part, param, ctx) for part in value.split(","))


class OneLineGroup(click.Group):
    """A command group whose every error is one line on stderr and a documented exit code."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the group's own options."""
        with _one_line(debug=False):
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; `--debug` prints the traceback first."""
        with _one_line(debug=bool(ctx.params.get("debug"))):
            return super().invoke(ctx)


@contextlib.contextmanager
def _one_line(*, debug: bool) -> Iterator[None]:
    try:
        yield
    except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
        raise
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        line, exit_code = _explain(error)
        click.echo(f"Error: {' '.join(line.split())}", err=True)
        raise click.exceptions.Exit(exit_code) from error


def _explain(error: BaseException) -> tuple[str, int]:
    """Return the line and the exit code a user gets for an exception."""
    if isinstance(error, SegshipError):
        return str(error), error.exit_code
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "segship"
        return f"{error.format_message()} See `{command} --help`.", 2
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "Interrupted.", EXIT_INTERRUPTED
    if isinstance(error, BrokenPipeError):
        sys.stdout = None  # nobody reads it: no flush at exit
        return "The reader of the output went away.", 2
    if isinstance(error, OSError):
        name = f" {error.filename}" if error.filename else ""
        return f"Cannot use{name}: {error.strerror or error}.", 2
    defect = f"Unexpected {type(error).__name__}: {error}. This is a defect of segship"
    return f"{defect}: `segship --debug …` prints the traceback.", EXIT_DEFECT


def check_writable(*outputs: str | Path | None) -> None:
    """Refuse output paths that cannot be written, before minutes of work.

    Raises:
        InputError: a folder is missing or not writable, or the path is a directory.
    """
    from .files import atomic_path

    for output in outputs:
        if output is not None:
            _probe(Path(output), atomic_path)


def _probe(output: Path, atomic_path: Callable[[Path], Any]) -> None:
    """Open and drop the temporary file that the real output will be written through."""

    class _Dropped(Exception):
        pass

    with contextlib.suppress(_Dropped), atomic_path(output):
        raise _Dropped


SIZE = SizeType()


def threads_option(command: Command) -> Command:
    """Add `--threads`."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        metavar="N",
        help="Threads of the runtime (all physical cores).",
    )(command)


def runtime_options(command: Command) -> Command:
    """Add `--runtime`, `--precision` and `--threads`."""
    command = threads_option(command)
    for name, choices, text in (
        ("--precision", ("auto", "fp32", "bf16"), "Precision the runtime computes in."),
        ("--runtime", ("auto", "torch", "onnxruntime", "openvino"), "What executes the artifact."),
    ):
        kind = click.Choice(choices)
        command = click.option(name, type=kind, default="auto", show_default=True, help=text)(
            command
        )
    return command


def json_option(command: Command) -> Command:
    """Add `--json`: print one JSON object instead of a table."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(
        command
    )
