"""What `segship export` prints: the file or folder, the verdict, and what was lost or done."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ..common.sizes import format_size
from .fact_grid import fact_grid

if TYPE_CHECKING:
    from ..optimize.export import ExportReport
    from ..optimize.export_hf import HfExportReport

_MEBI = 1 << 20
_OPERATORS_SHOWN = 8


def print_export(report: ExportReport, console: Console, *, explain: bool = False) -> None:
    """Print one line each for the file, its interface, the passes and the verdict."""
    path, contract = report.artifact.path, report.artifact.contract
    size_mib = path.stat().st_size / _MEBI
    common = Counter(report.operators).most_common(_OPERATORS_SHOWN)
    rows = [
        ("written", f"{path} ({size_mib:.1f} MiB) in {report.seconds:.1f} s"),
        ("input", f"pixels, {contract.input.value}, {format_size(contract.size_px)}"),
        ("output", f"{', '.join(contract.heads)}: {contract.output.value}"),
        ("operators", f"{sum(report.operators.values())}: "
                      + ", ".join(f"{name} {count}" for name, count in common)),
        ("passes", ", ".join(note.name for note in report.passes if note.changed) or "none"),
        *(("note", line) for line in report.notes),
        *(("assumed", line) for line in report.artifact.lineage.assumptions),
        ("verdict", str(report.parity)),
    ]  # fmt: skip  # one fact per row
    console.print(fact_grid(rows))
    if explain:
        _explain(report, console)


def print_hf_export(report: HfExportReport, console: Console) -> None:
    """Print the folder, what was folded, what is lost, and how far the logits are away."""
    files = [path for path in report.path.iterdir() if path.is_file()]
    size_mib = sum(path.stat().st_size for path in files) / _MEBI
    rows = [
        ("written", f"{report.path} ({size_mib:.1f} MiB) in {report.seconds:.1f} s"),
        *(("folded", line) for line in report.folds),
        *(("lost", line) for line in report.losses or ("nothing",)),
        ("verdict", str(report.difference)),
    ]
    if report.licence_note:
        rows.append(("licence", report.licence_note))
    console.print(fact_grid(rows))


def _explain(report: ExportReport, console: Console) -> None:
    """Print what each pass did and why it left the rest alone."""
    if not report.passes:
        console.print("No pass ran: the graph is the plain one (--no-fold).")
    for note in report.passes:
        console.print(Text(f"{note.name}: changed {note.changed}"))
        for line in note.notes:
            console.print(Text(f"  {line}"))
