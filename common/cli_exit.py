"""One way out for every error a command meets: one line on stderr and a documented exit code.

Exit codes: 0 fine, 1 a check failed, 2 wrong input, 70 a defect of segship, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import click

from .errors import SegshipError

EXIT_DEFECT = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


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
