"""The comparison table over models, as papers print it: Markdown, LaTeX or CSV, by the suffix."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..benchmark.record import Measurement, Record
from ..common.errors import InputError
from ..common.files import write_text
from .format import count, gmacs, mebibytes, milliseconds, percent
from .markdown import escape

SUFFIXES = (".md", ".tex", ".csv")
_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "·": r"$\cdot$",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    **{mark: "\\" + mark for mark in "&%$#_{}"},
}


@dataclass(frozen=True)
class _Number:
    """A column: its heading with the unit, its value, and how it is written for a reader."""

    heading: str
    value: Callable[[Measurement], float | None]
    write: Callable[[float | None], str]


def _miou(item: Measurement) -> float | None:
    return item.accuracy.miou if item.accuracy else None


def _file_mib(item: Measurement) -> float | None:
    return item.memory.file_mib if item.memory else None


def _median_ms(item: Measurement) -> float | None:
    return item.latency.median_ms if item.latency else None


def _peak_mib(item: Measurement) -> float | None:
    return item.memory.peak_mib if item.memory else None


_NUMBERS = (
    _Number("mIoU %", _miou, percent),
    _Number("weights MiB", _file_mib, mebibytes),
    _Number("parameters", lambda item: item.parameters or None, count),
    _Number("GMACs", lambda item: item.gmacs, gmacs),
    _Number("latency ms", _median_ms, milliseconds),
    _Number("memory MiB", _peak_mib, mebibytes),
)


def check_table_path(path: Path | None) -> None:
    """Refuse another suffix before minutes of work.

    Raises:
        InputError: neither .md, .tex nor .csv.
    """
    if path is not None and path.suffix not in SUFFIXES:
        raise InputError(f"Expected a table in .md, .tex or .csv, but got {path}.")


def write_model_table(records: Sequence[Record], path: Path) -> None:
    """Write every measurement of the records as one row of the table at `path`.

    Raises:
        InputError: another suffix, no record, or records that one table would mix up: of different
            data, protocols, hosts or numbers of threads.
    """
    check_table_path(path)
    _refuse_mixture(records)
    render = {".md": _markdown, ".tex": _latex, ".csv": _csv}[path.suffix]
    write_text(path, render(records))


def _refuse_mixture(records: Sequence[Record]) -> None:
    if not records:
        raise InputError("Expected a record for the table, but got none.")
    seen: dict[str, set[object]] = {
        "data sets": {
            (item.protocol.data_sha256, item.protocol.images) for item in _scored(records)
        },
        "hosts": {item.environment.host_id for item in _timed(records)},
        "numbers of threads": {item.protocol.threads for item in _timed(records)},
        "evaluation protocols": {_rule(item) for item in _scored(records)},
        "latency rules": {item.protocol.latency_rule for item in _timed(records)},
    }
    for what, values in seen.items():
        if len(values) > 1:
            raise InputError(
                f"Expected records that one table can hold, but they are of different {what}: "
                "measure the models in one run, or write a table each."
            )


def _rule(record: Record) -> str:
    """Return how labels were scored; the size of a model's input is its own."""
    return re.sub(r" to \d+x\d+", "", record.protocol.evaluation)


def _scored(records: Sequence[Record]) -> list[Record]:
    return [item for item in records if any(one.accuracy for one in item.measurements)]


def _timed(records: Sequence[Record]) -> list[Record]:
    return [item for item in records if any(one.latency for one in item.measurements)]


def _columns(records: Sequence[Record]) -> list[_Number]:
    """Return the columns that hold a value for at least one model."""
    return [
        column
        for column in _NUMBERS
        if any(column.value(item) is not None for item in _items(records))
    ]


def _items(records: Sequence[Record]) -> list[Measurement]:
    return [item for record in records for item in record.measurements]


def _words(item: Measurement) -> tuple[str, str]:
    return item.name, f"{item.runtime} {item.precision}"


def _protocol(records: Sequence[Record]) -> str:
    """Return one sentence: data, size, threads, host."""
    record = next(iter(_timed(records)), records[0])
    scored = next(iter(_scored(records)), record)
    shapes = {item.input_shape for item in _items(records)}
    size = " ".join("x".join(map(str, shape)) for shape in sorted(shapes))
    parts = [
        f"data {scored.protocol.data}, {scored.protocol.images} images"
        if scored.protocol.images
        else "",
        f"input {size}",
        f"median latency, {record.protocol.threads} threads" if _timed(records) else "",
        record.environment.cpu,
    ]
    return "; ".join(part for part in parts if part)


def _markdown(records: Sequence[Record]) -> str:
    columns = _columns(records)
    heads = ["model", "runtime", *(column.heading for column in columns)]
    lines = [heads, [":---", ":---", *["---:"] * len(columns)]]
    for item in _items(records):
        numbers = [column.write(column.value(item)) for column in columns]
        lines.append([*(escape(text) for text in _words(item)), *numbers])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{table}\n\n{escape(_protocol(records))}\n"


def _latex(records: Sequence[Record]) -> str:
    """Return a tabular for the package booktabs; the protocol stands above it as a comment."""
    columns = _columns(records)
    heads = ["model", "runtime", *(column.heading for column in columns)]
    lines = [
        f"% {_line(_protocol(records))}",
        rf"\begin{{tabular}}{{ll{'r' * len(columns)}}}",
        r"\toprule",
        " & ".join(map(_tex, heads)) + r" \\",
        r"\midrule",
    ]
    for item in _items(records):
        cells = [*_words(item), *(column.write(column.value(item)) for column in columns)]
        lines.append(" & ".join(map(_tex, cells)) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _csv(records: Sequence[Record]) -> str:
    """Return the numbers as they were measured, mIoU in per cent, empty where unknown."""
    columns = _columns(records)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["model", "runtime", *(column.heading for column in columns)])
    for item in _items(records):
        values = [column.value(item) for column in columns]
        scale = [100.0 if column.value is _miou else 1 for column in columns]
        numbers = ["" if v is None else v * s for v, s in zip(values, scale, strict=True)]
        writer.writerow([*_words(item), *numbers])
    return stream.getvalue()


def _tex(text: str) -> str:
    """Escape what LaTeX reads otherwise.

    >>> print(_tex("a_b 5 % – ×"))
    a\\_b 5 \\% -- $\\times$
    """
    return "".join(_TEX.get(letter, letter) for letter in _line(text))


def _line(text: str) -> str:
    """Return a text on one line: a line break would end a comment or a row."""
    return " ".join(text.split())
