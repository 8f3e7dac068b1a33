"""The loss ledger: where between checkpoint and artifact points of mIoU were lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .price import LedgerStep

if TYPE_CHECKING:
    from .record import Measurement

# in the order they happen; what a measurement's own last step is, `step_of` tells
STEPS = ("checkpoint", "export", "rewrites", "BF16", "FP16", "INT8", "post-processing")
_INT8 = frozenset({"int8", "int8-all", "mixed"})


def ledger(measurements: Sequence[Measurement], baseline: str) -> tuple[LedgerStep, ...]:
    """Return the steps the measurements hold, each with what it lost against the one before.

    Only measurements of the baseline's checkpoint count. Where several show one step, the one on
    the runtime of the last step does, else the first. Fewer than two steps are no ledger: ().
    """
    base = next((item for item in measurements if item.name == baseline), None)
    scored = [item for item in measurements if item.accuracy is not None]
    if base is None or base not in scored:
        return ()
    same = [item for item in scored if _checkpoint_of(item) == _checkpoint_of(base)]
    found: dict[str, list[Measurement]] = {}
    for item in same:
        found.setdefault(step_of(item), []).append(item)
    names = [step for step in STEPS if step in found]
    if len(names) < 2:
        return ()
    runtime = found[names[-1]][0].runtime
    rows: list[LedgerStep] = []
    for name in names:
        item = next((it for it in found[name] if it.runtime == runtime), found[name][0])
        miou = item.accuracy.miou if item.accuracy else 0.0
        rows.append(LedgerStep(name, item.name, miou, rows[-1].miou - miou if rows else 0.0))
    return tuple(rows)


def step_of(item: Measurement) -> str:
    """Return the last step a measurement's artifact and runtime went through."""
    passes = {note["name"] for note in item.lineage.get("passes", ()) if note["changed"]}
    if item.contract.get("output") == "labels":
        return "post-processing"
    if passes & _INT8:
        return "INT8"
    if "fp16" in passes:
        return "FP16"
    if item.precision == "bf16":
        return "BF16"
    if item.kind == "checkpoint":
        return "checkpoint"
    return "rewrites" if passes else "export"


def _checkpoint_of(item: Measurement) -> str:
    return str(item.lineage.get("source_sha256") or item.sha256)
