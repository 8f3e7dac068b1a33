"""What a column of the table of measurements is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..benchmark.record import Measurement


@dataclass(frozen=True)
class Column:
    """One column: `text` writes a measurement's value; a number has a `unit` or is `plain`."""

    heading: str
    text: Callable[[Measurement], str]
    unit: str = ""
    plain: bool = False

    @property
    def numeric(self) -> bool:
        """Say whether the column holds numbers, which are set flush right."""
        return self.plain or bool(self.unit)


@dataclass(frozen=True)
class Group:
    """Columns that belong together under one heading."""

    heading: str
    columns: tuple[Column, ...]
