"""A comparison of records as tables: what was measured first, then what changed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from ..benchmark.compare import Comparison, Pair
from ..benchmark.compare_settings import Change
from ..benchmark.record import Measurement, Memory
from .format import ABSENT, interval, mebibytes, milliseconds, percent, points, shorten
from .markdown import escape, sheet_blocks
from .sheet import Cell, Sheet
from .table import print_sheet

_FIRST = (("artifact", ""), ("verdict", ""), ("why", ""))
_LONGEST = 160  # characters of a setting
_RULE_OF_TIMES = (
    "Raw samples by a rank test at 1 %; a change also has to exceed that of artifacts which did "
    "not change. The ratio is new / old."
)
_RULE_OF_MIOU = "Drop = old − new, with a 95 % interval where the records hold enough for one."


def comparison_sheets(found: Comparison) -> tuple[Sheet, ...]:
    """Return the tables that have rows: latency, mIoU, memory, artifacts, the whole run."""
    pairs = found.pairs
    sheets = (
        Sheet(
            "latency",
            "Latency",
            _RULE_OF_TIMES,
            (*_FIRST, ("old", "ms"), ("new", "ms"), ("ratio", "×"), ("95 % interval", "×")),
            tuple(_latency_row(item) for item in pairs if item.latency),
            words=3,
        ),
        Sheet(
            "miou",
            "mIoU",
            _RULE_OF_MIOU,
            (*_FIRST, ("old", "%"), ("new", "%"), ("drop", "points"), ("interval", "points")),
            tuple(_miou_row(item) for item in pairs if item.miou),
            words=3,
        ),
        Sheet(
            "memory",
            "Memory and file",
            "One number each, without samples: shown, not judged.",
            (
                ("artifact", ""),
                *(("peak old", "MiB"), ("peak new", "MiB")),
                *(("file old", "MiB"), ("file new", "MiB")),
            ),
            tuple(_memory_row(item) for item in pairs if item.old.memory and item.new.memory),
        ),
        _changes("artifacts", "What changed in the artifacts", _of_pairs(pairs)),
        _changes("run", "What changed around them", [("", item) for item in found.changes]),
    )
    return tuple(sheet for sheet in sheets if sheet.rows)


def comparison_notes(found: Comparison) -> tuple[str, ...]:
    """Return what is not compared, one sentence each."""
    notes = []
    if found.time_barriers and any(item.latency for item in found.pairs):
        notes.append(f"Times are not ranked: {'; '.join(found.time_barriers)}.")
    if found.accuracy_barriers and any(item.miou for item in found.pairs):
        notes.append(f"Accuracy is not ranked: {'; '.join(found.accuracy_barriers)}.")
    for names, where in ((found.only_old, "old"), (found.only_new, "new")):
        if names:
            notes.append(f"Only in the {where} record: {', '.join(names)}.")
    return tuple(notes)


def print_comparison(old: str, new: str, found: Comparison, console: Console) -> None:
    """Print the comparison of the records called `old` and `new`."""
    console.print()
    console.print(Text(f"{old} → {new}", style="bold"))
    for note in comparison_notes(found):
        console.print(Text(note))
    for sheet in comparison_sheets(found):
        print_sheet(sheet, console)


def comparison_markdown(old: str, new: str, found: Comparison) -> str:
    """Return the comparison as GitHub-flavoured Markdown."""
    blocks = [f"# {escape(old)} → {escape(new)}"]
    blocks += [escape(note) for note in comparison_notes(found)]
    for sheet in comparison_sheets(found):
        blocks += [f"## {escape(sheet.title)}", *sheet_blocks(sheet)]
    return "\n\n".join(blocks) + "\n"


def _latency_row(pair: Pair) -> tuple[Cell, ...]:
    shift = pair.latency
    if shift is None:
        return ()
    test = shift.test
    texts = (
        *(_name(pair), shift.verdict, shift.reason),
        *(milliseconds(shift.old_ms), milliseconds(shift.new_ms)),
        f"{test.ratio:.3f}" if test else ABSENT,
        f"{test.low:.3f} to {test.high:.3f}" if test else ABSENT,
    )
    return _cells(texts)


def _miou_row(pair: Pair) -> tuple[Cell, ...]:
    shift = pair.miou
    if shift is None:
        return ()
    ranked = shift.verdict != "not ranked"
    known = shift.low is not None and shift.high is not None
    texts = (
        *(_name(pair), shift.verdict, shift.reason),
        *(percent(shift.old), percent(shift.new)),
        points(shift.drop) if ranked else ABSENT,
        interval(shift.low or 0.0, shift.high or 0.0) if known else ABSENT,
    )
    return _cells(texts)


def _memory_row(pair: Pair) -> tuple[Cell, ...]:
    items = [_memory(item) for item in (pair.old, pair.new)]
    texts = [mebibytes(item.peak_mib) for item in items] + [
        mebibytes(item.file_mib) for item in items
    ]
    return _cells((_name(pair), *texts))


def _memory(item: Measurement) -> Memory:
    return item.memory or Memory(0.0, 0.0, 0.0)


def _changes(key: str, title: str, rows: Sequence[tuple[str, Change]]) -> Sheet:
    named = any(name for name, _ in rows)
    heads = (*((("artifact", ""),) if named else ()), ("setting", ""), ("old", ""), ("new", ""))
    return Sheet(
        key,
        title,
        "What is not listed is the same in both.",
        heads,
        tuple(
            _cells(
                (
                    *((name,) if named else ()),
                    item.what,
                    shorten(item.old, _LONGEST),
                    shorten(item.new, _LONGEST),
                )
            )
            for name, item in rows
        ),
        words=len(heads),
    )


def _of_pairs(pairs: Sequence[Pair]) -> list[tuple[str, Change]]:
    """Return each change once, with the artifacts that share it."""
    names: dict[Change, list[str]] = {}
    for pair in pairs:
        for change in pair.changes:
            names.setdefault(change, []).append(_name(pair))
    whole = len(pairs) if len(pairs) > 1 else 0
    return [("all" if len(of) == whole else ",\n".join(of), change) for change, of in names.items()]


def _name(pair: Pair) -> str:
    old, new = pair.old.name, pair.new.name
    return old if old == new else f"{old} → {new}"


def _cells(texts: Sequence[str]) -> tuple[Cell, ...]:
    return tuple(Cell(text) for text in texts)
