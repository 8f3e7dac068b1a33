"""What `segship inspect` prints: facts, then the cost of every part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from ..common.sizes import format_size
from ..data.contract import Contract
from .fact_grid import fact_grid

if TYPE_CHECKING:
    from ..benchmark.inspection import Inspection

_CLASSES_SHOWN = 24
_MEBI = 1 << 20


def print_inspection(found: Inspection, console: Console) -> None:
    """Print what a checkpoint or an artifact is: facts first, then the cost per part."""
    facts = (*_model_facts(found), *_contract_facts(found.contract), *_notes(found))
    console.print(fact_grid(facts))
    if found.parts:
        console.print(_parts(found))


def _model_facts(found: Inspection) -> Sequence[tuple[str, str]]:
    size = format_size(found.size_px)
    gmacs = "unknown" if found.gmacs is None else f"{found.gmacs:.2f} for one {size} image"
    weights_mib = found.parameters * 4 / _MEBI
    return (
        ("source", found.source),
        ("kind", f"{found.kind}, {found.flavour}" if found.flavour else found.kind),
        ("variant", found.variant or "unknown"),
        ("parameters", f"{found.parameters:,} ({weights_mib:.1f} MiB in FP32)"),
        ("GMACs", gmacs),
        ("heads", "; ".join(found.heads)),
        *((("network", "; ".join(found.network)),) if found.network else ()),
        ("sha256", found.sha256),
    )


def _contract_facts(contract: Contract) -> Sequence[tuple[str, str]]:
    names = contract.classes[:_CLASSES_SHOWN]
    more = len(contract.classes) - len(names)
    tail = f" and {more} more" if more > 0 else ""
    numbers = [f"{value:.4g}" for value in (*contract.mean, *contract.std)]
    label_rule = f"ignore {contract.ignore_index}"
    if contract.reduce_labels:
        label_rule += ", labels reduced by one"
    if contract.threshold is not None:
        label_rule += f", foreground above {contract.threshold:g}"
    return (
        ("classes", f"{len(contract.classes)}: {', '.join(names)}{tail}; {label_rule}"),
        ("input", f"{contract.input.value} {format_size(contract.size_px)}, "
                  f"{contract.resize.value} {contract.resample.value}, "
                  f"{contract.channel_order.value}"),
        ("normalise", f"x * {contract.scale:.6g}, mean {' '.join(numbers[:3])}, "
                      f"std {' '.join(numbers[3:])}"),
        ("output", contract.output.value
                   + (", align_corners" if contract.align_corners else "")),
        *_depth_fact(contract),
    )  # fmt: skip  # one fact per row reads better than the formatter's ladder


def _depth_fact(contract: Contract) -> Iterable[tuple[str, str]]:
    if "depth" in contract.heads:
        low, high = contract.depth_range
        sign = ", without its sign" if contract.depth_abs else ""
        yield "depth", f"output / {contract.depth_scale:g}{sign}, drawn from {low:g} to {high:g}"


def _notes(found: Inspection) -> Iterable[tuple[str, str]]:
    if found.licence_note:
        yield "licence", found.licence_note
    for done in found.passes:
        yield f"pass {done.name}", f"changed {done.changed}"
    for note in found.notes:
        yield "note", note


def _parts(found: Inspection) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("part")
    for name in ("parameters", "GMACs", "share"):
        table.add_column(name, justify="right")
    whole = found.gmacs or 0.0
    for part in found.parts:
        share = f"{part.gmacs / whole:.1%}" if whole else "–"
        table.add_row(part.name, f"{part.parameters:,}", f"{part.gmacs:.3f}", share)
    return table
