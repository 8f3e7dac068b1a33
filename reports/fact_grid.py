"""Names and values in two columns, for what is printed once and not compared."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text


def fact_grid(rows: Iterable[tuple[str, str]]) -> Table:
    """Return a borderless table of bold names and values that wrap; brackets stay brackets."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(name), Text(value))
    return grid
