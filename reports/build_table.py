"""What `segship build` prints: the engine, its shapes, every part's precision, what was odd."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from .fact_grid import fact_grid
from .sheet import Cell, Sheet
from .table import print_sheet

if TYPE_CHECKING:
    from ..optimize.tensorrt.repeat import RebuildVariance
    from ..optimize.tensorrt.report import BuildReport
    from ..optimize.tensorrt.summary import BuildSummary, PartRow
    from ..runtimes.tensorrt.sidecar import ShapeRange

_NUMBERED = re.compile(r"(stage|.*branch) (\d+)(.*)")
_NAMES_SHOWN = 3
_WARNINGS_SHOWN = 5


def print_build(report: BuildReport, console: Console, *, layers: bool = False) -> None:
    """Print one line per fact, a table of parts, and every layer where asked."""
    console.print(fact_grid(_facts(report)))
    if report.summary.parts:
        print_sheet(part_sheet(report.summary), console)
    if report.variance is not None:
        print_sheet(variance_sheet(report.variance), console)
    for row in report.rows if layers else ():
        words = (row.precision or "?", row.part or row.kind, row.name, f"{row.fused} nodes")
        # a layer's name stays whole, whatever the terminal's width
        console.print(Text("  ".join(words)), soft_wrap=True)


def part_sheet(summary: BuildSummary) -> Sheet:
    """Return the table of parts: precision asked for and got."""
    from ..optimize.tensorrt.summary import STATES

    seen = dict.fromkeys(row.state for row in summary.parts)
    return Sheet(
        key="build-parts",
        title="Parts",
        sentence="Precision the graph asks for, and what the engine's layers read.",
        heads=(("part", ""), ("asked", ""), ("got", ""), ("state", ""), ("layers", "")),
        rows=tuple(
            (
                Cell(name),
                Cell(row.asked),
                Cell(row.got or "–"),
                Cell(row.state),
                Cell(f"{layers}{' fused' if row.fused else ''}"),
            )
            for name, row, layers in _grouped(summary.parts)
        ),
        notes=tuple(f"{state}: {STATES[state]}." for state in seen if state != "as asked"),
        words=4,
    )


def _grouped(parts: tuple[PartRow, ...]) -> list[tuple[str, PartRow, int]]:
    """Return one row for a part that fares alike in several stages: name, one of them, layers."""
    groups: dict[tuple[Any, ...], list[PartRow]] = {}
    numbers: dict[tuple[Any, ...], list[str]] = {}
    for row in parts:
        match = _NUMBERED.match(row.part)
        name = (match[1], match[3]) if match else (row.part, "")
        key = (*name, row.asked, row.got, row.state, row.fused)
        groups.setdefault(key, []).append(row)
        numbers.setdefault(key, []).append(match[2] if match else "")
    return [
        (
            f"{key[0]} {','.join(sorted(numbers[key]))}{key[1]}" if numbers[key][0] else key[0],
            rows[0],
            sum(row.layers for row in rows),
        )
        for key, rows in groups.items()
    ]


def variance_sheet(found: RebuildVariance) -> Sheet:
    """Return the table of equivalent engines."""
    rows = []
    for index, item in enumerate(found.engines):
        times = (item.median_ms, item.minimum_ms, item.maximum_ms)
        share = f"{100 * found.disagreement[0][index]:.4f}"
        rows.append((Cell(f"build {index + 1}"), *(Cell(f"{ms:.3f}") for ms in times), Cell(share)))
    heads = (("engine", ""), ("median", "ms"), ("least", "ms"), ("most", "ms"))
    return Sheet(
        key="build-variance",
        title="Rebuild variance",
        sentence=(
            f"Equivalent engines in turns: {found.rounds} runs each, labels on {found.images} "
            "images; no timing cache between builds."
        ),
        heads=(*heads, ("other labels", "% of build 1's")),
        rows=tuple(rows),
        notes=(
            f"slowest over fastest {1 + found.spread:.3f}; two engines disagree on at most "
            f"{100 * found.worst_disagreement:.4f} % of the pixels; build 1 was kept.",
        ),
    )


def _facts(report: BuildReport) -> list[tuple[str, str]]:
    info = report.info
    steps = ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items())
    took = f"in {sum(report.seconds.values()):.1f} s ({steps})"
    rows = [
        ("written", f"{report.artifact.path} ({report.size_mib:.1f} MiB) {took}"),
        ("built for", f"{info.gpu} (SM {info.sm}), TensorRT {info.tensorrt}, CUDA "
                      f"{info.cuda_runtime}, driver for CUDA {info.driver}"),
        ("runs on", _portability(report)),
        *(("shape", _shape(item)) for item in info.profiles),
        ("precision", _precision(report)),
        ("layers", _layers(report.summary)),
    ]  # fmt: skip  # one fact per row
    if report.activations_mib is not None:
        rows.append(("memory", f"{report.activations_mib:.1f} MiB of activations"))
    if report.sparsity is not None:
        rows.append(("sparsity", str(report.sparsity)))
    rows += [("note", line) for line in report.notes]
    rows += [("known bad", line) for line in report.known_bad]
    rows += [("TensorRT", line) for line in report.warnings[:_WARNINGS_SHOWN]]
    hidden = len(report.warnings) - _WARNINGS_SHOWN
    if hidden > 0:
        rows.append(("TensorRT", f"{hidden} more warnings: --json has them"))
    return rows + [("assumed", line) for line in info.lineage.assumptions]


def _portability(report: BuildReport) -> str:
    info = report.info
    where = {
        "ampere-plus": "SM 8.0 and later",
        "same-compute-capability": f"every GPU of SM {info.sm}",
    }.get(info.hardware_compatibility, "this GPU")
    later = " and later" if info.version_compatible else " alone"
    return f"{where}, TensorRT {info.tensorrt}{later}"


def _shape(item: ShapeRange) -> str:
    low, tuned, high = ("x".join(map(str, shape)) for shape in
                        (item.minimum, item.optimum, item.maximum))  # fmt: skip  # one sentence
    return tuned if low == high else f"{low} to {high}, tuned for {tuned}"


def _precision(report: BuildReport) -> str:
    summary, tf32 = report.summary, report.info.options.get("tf32")
    allowed = ", TF32 allowed" if tf32 else ""
    if not summary.parts:
        return f"{report.info.precision}{allowed}; the graph's names tell no parts"
    return (
        f"{report.info.precision}{allowed}; {summary.as_asked} of {len(summary.parts)} parts as "
        "the graph asks"
    )


def _layers(summary: BuildSummary) -> str:
    found = f"{summary.layers}, {summary.reformats} of them reformat"
    if not summary.unfused:
        return found
    shown = ", ".join(summary.unfused[:_NAMES_SHOWN])
    more = f" and {len(summary.unfused) - _NAMES_SHOWN} more"
    return (
        f"{found}; {len(summary.unfused)} Q/DQ not fused: {shown}"
        f"{more if len(summary.unfused) > _NAMES_SHOWN else ''}"
    )
