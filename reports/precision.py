"""Which part of the network computes in which precision, as far as a record says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..benchmark.record import Measurement, Record
from .partgrid import Grid, Shade, part_grids

_NOTE = "INT8: "  # how the pass "mixed" begins the note that lists its parts


@dataclass(frozen=True)
class PrecisionMap:
    """The parts of one measurement; `counts` are (precision, number of parts)."""

    name: str
    grids: tuple[Grid, ...]
    counts: tuple[tuple[str, int], ...]


def precision_maps(record: Record) -> tuple[PrecisionMap, ...]:
    """Return a map for every measurement whose lineage names its INT8 parts.

    All other parts the record knows (from its sensitivity table and the trials of a search)
    compute in what the measurement's runtime computes in.
    """
    return tuple(
        _map(record, item, listed)
        for item in record.measurements
        if (listed := int8_parts(item)) is not None
    )


def int8_parts(item: Measurement) -> tuple[str, ...] | None:
    """Return the INT8 parts that a measurement's lineage lists, or None where it lists none."""
    for note in item.lineage.get("passes") or ():
        for line in note.get("notes") or () if note.get("name") == "mixed" else ():
            if str(line).startswith(_NOTE):
                names = str(line)[len(_NOTE) :].split(", ")
                return tuple(name for name in names if name != "nothing")
    return None


def _map(record: Record, item: Measurement, listed: tuple[str, ...]) -> PrecisionMap:
    other = item.precision.upper()
    names = [*dict.fromkeys([*_parts(record), *listed])]
    found = {part: "INT8" if part in listed else other for part in names}
    shades = {
        part: Shade(text, "bits-8" if text == "INT8" else "bits-more", part)
        for part, text in found.items()
    }
    texts = list(found.values())
    counts = tuple((text, texts.count(text)) for text in dict.fromkeys(("INT8", other)))
    return PrecisionMap(item.name, part_grids(shades), counts)


def _parts(record: Record) -> Iterator[str]:
    if record.sensitivity:
        yield from (row.part for row in record.sensitivity.rows)
    if record.search:
        yield from (part for trial in record.search.trials for part in trial.parts)
