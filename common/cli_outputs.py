"""Where a command writes: checked before the work, and never onto what it reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .errors import InputError
from .files import probe_writable


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path | None] = ()) -> None:
    """Refuse outputs that cannot be written, that are inputs, or that are one file twice.

    Raises:
        InputError: the first of them, and what to do.
    """
    read = {path.resolve() for path in inputs if path is not None}
    seen: set[Path] = set()
    for output in outputs:
        if output is None:
            continue
        place = output.resolve()
        if place in read:
            raise InputError(
                f"Expected a file to write that is not read as well, but got {output} for both: "
                "choose another output path."
            )
        if place in seen:
            raise InputError(
                f"Expected a file for each output, but got {output} twice: choose another path."
            )
        seen.add(place)
        probe_writable(output)
