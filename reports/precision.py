"""Which part of the network computes in which precision, as far as a record says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def file_maps(found: Mapping[str, Mapping[str, str]]) -> tuple[PrecisionMap, ...]:
    """Return a map per file: name → part → precision, several of a part joined with "+"."""
    return tuple(_laid_out(name, parts) for name, parts in found.items())


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
    return _laid_out(item.name, {part: "INT8" if part in listed else other for part in names})


def _laid_out(name: str, parts: Mapping[str, str]) -> PrecisionMap:
    texts = {part: text.upper() for part, text in parts.items()}
    shades = {part: Shade(text, _tone(text), part) for part, text in texts.items()}
    found = list(texts.values())
    counts = tuple((text, found.count(text)) for text in sorted(set(found), key=_width))
    return PrecisionMap(name, part_grids(shades), counts)


def _width(text: str) -> tuple[int, str]:
    """Return what sorts INT8 first, then 16 bits, then the rest."""
    return next((at for at, mark in enumerate(("8", "16")) if text.endswith(mark)), 2), text


def _tone(text: str) -> str:
    if "+" in text:
        return "bits-mixed"
    return {"INT8": "bits-8", "FP16": "bits-16", "BF16": "bits-16"}.get(text, "bits-32")


def _parts(record: Record) -> Iterator[str]:
    if record.sensitivity:
        yield from (row.part for row in record.sensitivity.rows)
    if record.search:
        yield from (part for trial in record.search.trials for part in trial.parts)
