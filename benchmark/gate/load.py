"""Records for a gate: read, or refused in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...common.errors import CheckFailedError
from ..integrity import OtherSchemaError
from ..record import Record, load_record


def load_records(paths: Sequence[Path]) -> tuple[Record, ...]:
    """Read the records.

    Raises:
        InputError: a file is missing, damaged, edited or no record.
        CheckFailedError: one has another schema: there is nothing to compare.
    """
    try:
        return tuple(load_record(path) for path in paths)
    except OtherSchemaError as error:
        raise CheckFailedError(f"Cannot compare: {error}") from error
