"""What `segship quantize` prints: the file, its images, the price; with --explain every node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from .fact_grid import fact_grid
from .sensitivity_table import part_sheet, trial_sheet
from .table import print_sheet

if TYPE_CHECKING:
    from ..calibration.coverage import Coverage
    from ..optimize.quantize.explain import NodeRow
    from ..optimize.quantize.quantize import QuantizeReport

_WORST_SHOWN = 3
_HEADER = ("node", "part", "precision", "range", "clipped", "dB", "weight dB", "why")
_NUMBERS = slice(3, 7)  # columns aligned to the right


def print_quantized(report: QuantizeReport, console: Console, *, explain: bool = False) -> None:
    """Print one line per fact, then a table with a row per node where asked."""
    console.print(fact_grid(_facts(report)))
    if report.search:
        print_sheet(trial_sheet(report.search), console)
    if report.sensitivity and explain:
        print_sheet(part_sheet(report.sensitivity), console)
    if explain:
        for line in _nodes(report.rows):
            # a node's name stays whole, whatever the terminal's width
            console.print(Text(line), soft_wrap=True)


def _facts(report: QuantizeReport) -> list[tuple[str, str]]:
    total = sum(report.seconds.values())
    steps = ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items())
    coverage = report.calibration.coverage
    return [
        ("written", f"{report.artifact.path} ({report.size_mib:.1f} MiB, float "
                    f"{report.float_mib:.1f} MiB) in {total:.1f} s ({steps})"),
        ("target", report.profile.title),
        ("precision", _precision(report)),
        ("calibrated", f"{report.ranges.method}, {len(report.calibration)} images of "
                       f"{report.calibration.name}"),
        *_covered(coverage),
        *(("worst", line) for line in _worst(report.rows)),
        *(("note", line) for line in report.notes),
        *(("assumed", line) for line in report.artifact.lineage.assumptions),
        *((("differs by", str(report.verdict)),) if report.verdict is not None else ()),
        ("verdict", _verdict(report)),
    ]  # fmt: skip  # one fact per row


def _precision(report: QuantizeReport) -> str:
    note = report.artifact.lineage.passes[-1]
    return f"{report.precision}: {note.changed} nodes"


def _covered(coverage: Coverage) -> list[tuple[str, str]]:
    low, *_, high = coverage.brightness
    rows = [("brightness", f"{low:.0f} to {high:.0f} of 255 (mean luma of an image)")]
    if coverage.classes:
        rare = min(coverage.classes, key=lambda item: item.pixels)
        shown = len(coverage.classes) - len(coverage.absent)
        rows.append((
            "classes",
            f"{shown} of {len(coverage.classes)}; rarest {rare.name}, {rare.pixels:.2%} of the "
            f"pixels, in {rare.images:.0%} of the images",
        ))  # fmt: skip  # a name and its sentence
    return rows


def _worst(rows: tuple[NodeRow, ...]) -> list[str]:
    """Say which quantized activations have the least signal-to-noise."""
    known = sorted(
        (row for row in rows if row.sqnr_db is not None), key=lambda row: row.sqnr_db or 0.0
    )
    return [
        f"{row.part or row.node}: {row.sqnr_db:.1f} dB in {row.tensor}"
        for row in known[:_WORST_SHOWN]
    ]


def _verdict(report: QuantizeReport) -> str:
    found = report.judgement
    if found is None:
        return "not evaluated: --eval SPEC does"
    allowed = "" if report.max_miou_drop is None else f", allowed {report.max_miou_drop:g}"
    return (
        f"mIoU {100 * found.float_miou:.2f} → {100 * found.miou:.2f} on "
        f"{found.record.protocol.images} images: drop {found.drop_points:+.2f} points{allowed}; "
        f"labels equal {found.agreement:.4%}"
    )


def _nodes(rows: tuple[NodeRow, ...]) -> list[str]:
    """Return a header and one aligned line per node."""
    table = [_HEADER, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    right = range(len(_HEADER))[_NUMBERS]
    return [
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]


def _cells(row: NodeRow) -> tuple[str, ...]:
    span = "" if row.low is None else f"{row.low:.3g} … {row.high:.3g}"
    clipped = "" if row.clipped is None else f"{row.clipped:.3%}"
    numbers = (_decibel(row.sqnr_db), _decibel(row.weight_sqnr_db))
    return (row.node, row.part, row.precision, span, clipped, *numbers, row.reason)


def _decibel(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
