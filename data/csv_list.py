"""A CSV file that lists image and mask files."""

from __future__ import annotations

import csv
from pathlib import Path

from ..common.errors import InputError
from .dataset import FilePair
from .layout import find_listed


def read_pairs(file: Path, image_column: str, mask_column: str) -> list[FilePair]:
    """Return the pairs of a CSV file with a header line, in its order.

    Paths are relative to the file's folder, or were written on another machine (`find_listed`).

    Raises:
        InputError: no such columns, or a listed file that is not there (names the line).
    """
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream)
            columns = list(rows.fieldnames or [])
            listed = [(rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"Expected a CSV file with the columns {image_column} and {mask_column}, but {file} "
            f"cannot be read ({str(error).splitlines()[0]}): save it again as CSV in UTF-8."
        ) from error
    if image_column not in columns or mask_column not in columns:
        raise InputError(
            f"Expected the columns {image_column} and {mask_column}, but {file} has "
            f"{', '.join(columns) or 'none'}: name them so."
        )
    pairs: list[FilePair] = []
    for line, row in listed:
        image, mask = (_file(file, line, row[item]) for item in (image_column, mask_column))
        pairs.append(FilePair(f"{len(pairs):05d}-{image.stem}", image, mask))
    return pairs


def _file(table: Path, line: int, entry: str | None) -> Path:
    found = find_listed(entry or "", table.parent)
    if found is None:
        raise InputError(
            f"Expected the files that {table} lists, but {entry!r} of line {line} is not found "
            f"below {table.parent}: correct the path."
        )
    return found
