"""From a plan's bytes to the files and the report: read back, describe, write."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from ...data.contract import Contract
from ...runtimes.artifact import Artifact, Lineage, PassNote
from ...runtimes.tensorrt.sidecar import HEAD_BYTES, EngineInfo, ShapeRange
from .builder import Plan, Recipe
from .engine import EngineFacts, inspect_plan
from .files import write_engine
from .machine import Machine
from .precision import FP16, FP32
from .report import BuildReport
from .source import BuildSource
from .sparsity import count_sparsity
from .summary import summarise


def finish(
    target: Path, plan: Plan, recipe: Recipe, found: BuildSource, machine: Machine
) -> BuildReport:
    """Read the plan back, write it with its sidecar, and report.

    Raises:
        InputError: the files cannot be written; neither is left.
        CheckFailedError: TensorRT does not load what it built; nothing is written.
    """
    from ...runtimes.tensorrt.versions import known_bad

    request = recipe.request
    facts = inspect_plan(
        machine.trt,
        plan.data,
        recipe.names,
        version_compatible=request.version_compatible,
        memory=machine.generation.device_memory,
    )
    info = _info(plan, recipe, found, machine, facts)
    write_engine(target, plan.data, info)
    return BuildReport(
        Artifact(target, "engine", info.contract, info.lineage, info.engine_sha256),
        info,
        facts.layers,
        summarise(facts.layers, recipe.found),
        {},
        (*plan.notes, *_size_note(found.artifact.contract, info.contract)),
        known_bad(machine.version, jetson=machine.device.integrated, sm=machine.device.sm),
        plan.warnings,
        count_sparsity(found.model) if request.sparse else None,
        facts.activations_mib,
    )


def _info(
    plan: Plan, recipe: Recipe, found: BuildSource, machine: Machine, facts: EngineFacts
) -> EngineInfo:
    request, device = recipe.request, machine.device
    chosen = request.fp16 and recipe.found.kind == FP32
    return EngineInfo(
        engine_sha256=hashlib.sha256(plan.data).hexdigest(),
        engine_bytes=len(plan.data),
        engine_head=plan.data[:HEAD_BYTES].hex(),
        contract=_contract(found.artifact.contract, recipe.ranges),
        lineage=_lineage(found.artifact.lineage, machine.version, len(facts.layers)),
        tensorrt=machine.version,
        cuda_runtime=device.runtime,
        driver=device.driver,
        gpu=device.name,
        sm=device.sm,
        inputs=facts.inputs,
        outputs=facts.outputs,
        profiles=recipe.ranges,
        precision=FP16 if chosen else recipe.found.kind,
        hardware_compatibility=request.hardware,
        version_compatible=request.version_compatible,
        options={**request.to_json(), "onnx_sha256": found.artifact.sha256},
        layers=tuple(row.to_json() for row in facts.layers),
    )


def _contract(contract: Contract, ranges: tuple[ShapeRange, ...]) -> Contract:
    """Return the contract with a size the engine takes: its own, else the one it is tuned for."""
    tuned = ranges[0].optimum
    if any(item.accepts((*tuned[:2], *contract.size_px)) for item in ranges):
        return contract
    return contract.with_size(tuned[2], tuned[3])


def _size_note(before: Contract, after: Contract) -> tuple[str, ...]:
    if before.size_px == after.size_px:
        return ()
    (height, width), (new_height, new_width) = before.size_px, after.size_px
    return (
        f"the graph's own size {height}x{width} was not asked for: images are resized to "
        f"{new_height}x{new_width}, which the engine is tuned for",
    )


def _lineage(lineage: Lineage, version: str, layers: int) -> Lineage:
    note = PassNote("tensorrt build", layers, (f"TensorRT {version}",))
    versions = {**lineage.tool_versions, "tensorrt": version}
    return replace(lineage, passes=(*lineage.passes, note), tool_versions=versions)
