"""Several records side by side: what differs in how they were made, then every measurement.

Nothing is merged: a speed-up and a drop stay those against the baseline of their own record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase

from ..benchmark.record import Record
from .column import Column
from .columns import groups
from .facts import Facts, environment_facts, protocol_facts, title
from .format import ABSENT, points, timestamp
from .points import Point, budget_miou, record_points
from .scatter import Scatter, plot_points
from .verdict import judge

LETTERS = ascii_uppercase
_SIZES = (("wide", (1160.0, 390.0)), ("narrow", (358.0, 320.0)))
_SHOWN = ("Artifact", "Accuracy", "Inference", "Frame", "Memory")


@dataclass(frozen=True)
class Side:
    """One record in the comparison."""

    letter: str
    anchor: str
    title: str
    created: str
    sentence: str


@dataclass(frozen=True)
class Comparison:
    """Records side by side; `rows` are (key, texts of the columns), `differing` facts by record."""

    sides: tuple[Side, ...]
    notes: tuple[str, ...]
    differing: tuple[tuple[str, tuple[str, ...]], ...]
    columns: tuple[tuple[str, Column], ...]  # (heading of the group, column)
    rows: tuple[tuple[str, bool, tuple[str, ...]], ...]  # key, is a baseline, texts
    plots: tuple[tuple[str, Scatter], ...]


def compare(records: Sequence[Record], max_miou_drop: float | None = None) -> Comparison:
    """Lay out `records`; `max_miou_drop` is the budget in the plot, of the first one's baseline."""
    named = list(zip(LETTERS, records, strict=False))
    everything = replace(
        records[0], measurements=tuple(m for record in records for m in record.measurements)
    )
    columns = tuple(
        (group.heading, column)
        for group in groups(everything)
        if group.heading in _SHOWN
        for column in group.columns
    )
    return Comparison(
        sides=tuple(_side(letter, record) for letter, record in named),
        notes=tuple(_notes(records)),
        differing=tuple(_differing(records)),
        columns=columns,
        rows=tuple(
            (
                f"{letter}{key}",
                item.name == record.baseline,
                tuple(column.text(item) for _, column in columns),
            )
            for letter, record in named
            for key, item in enumerate(record.measurements, 1)
        ),
        plots=tuple(_plots(named, max_miou_drop)),
    )


def _side(letter: str, record: Record) -> Side:
    text = judge(record).text
    return Side(letter, f"{letter.lower()}-record", title(record), timestamp(record.created), text)


def _same_times(one: Record, other: Record) -> bool:
    """Say whether milliseconds of two records are of the same host, threads and batch."""
    return one.environment.host_id == other.environment.host_id and (
        (one.protocol.threads, one.protocol.batch) == (other.protocol.threads, other.protocol.batch)
    )


def _same_scores(one: Record, other: Record) -> bool:
    """Say whether accuracies of two records are of the same images, scored alike."""
    return (one.protocol.data_sha256, one.protocol.images, one.protocol.evaluation) == (
        other.protocol.data_sha256, other.protocol.images, other.protocol.evaluation
    )  # fmt: skip


def _notes(records: Sequence[Record]) -> Iterator[str]:
    first = records[0]
    if not all(_same_times(first, other) for other in records):
        yield (
            "Times and memory are of different hosts, threads or batches: compare speed-ups "
            "within a record, not milliseconds between records."
        )
    elif len(records) > 1:
        yield (
            "Times are of one host, but not of one run: what the machine did between the runs is "
            "in every difference of milliseconds."
        )
    scored = [record for record in records if any(m.accuracy for m in record.measurements)]
    if scored and not all(_same_scores(scored[0], other) for other in scored):
        yield "Accuracies are of different images or scored another way: they do not compare."


def _differing(records: Sequence[Record]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the facts of protocol and environment that are not the same in every record."""
    sheets = [dict(_facts(record)) for record in records]
    for label in dict.fromkeys(label for sheet in sheets for label in sheet):
        texts = tuple(sheet.get(label, ABSENT) for sheet in sheets)
        if len(set(texts)) > 1:
            yield label, texts


def _facts(record: Record) -> Facts:
    segship = (("segship", record.segship_version),)
    return protocol_facts(record) + environment_facts(record) + segship


def _plots(
    named: Sequence[tuple[str, Record]], max_miou_drop: float | None
) -> Iterator[tuple[str, Scatter]]:
    """Yield the plot of every record whose times and scores are on the first one's footing."""
    first = named[0][1]
    shown: list[Point] = []
    missing = []
    for letter, record in named:
        if _same_times(first, record) and _same_scores(first, record):
            found = record_points(record, letter)
            shown += [replace(point, baseline=point.baseline and not shown) for point in found]
        else:
            missing.append(f"record {letter}")
    least, base = budget_miou(first, max_miou_drop), first.measurement(first.baseline).accuracy
    text = f"budget: {points(least - base.miou)} points" if least and base else ""
    for name, size in _SIZES:
        plot = plot_points(shown, *size, named=False, missing=tuple(missing), budget=(least, text))
        if plot:
            yield name, plot
