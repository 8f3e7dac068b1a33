"""The errors a user can cause, each with its exit code.

A message says what was expected, what came, and what to do.
"""

from __future__ import annotations


class SegshipError(Exception):
    """Base of every error segship raises on purpose; the CLI prints it in one line."""

    exit_code = 2


class InputError(SegshipError):
    """The request or a file it names is wrong (exit code 2)."""


class MissingDependencyError(SegshipError):
    """An optional package is needed and not installed (exit code 2)."""


class CheckFailedError(SegshipError):
    """The work was done and its result did not pass a check (exit code 1)."""

    exit_code = 1
