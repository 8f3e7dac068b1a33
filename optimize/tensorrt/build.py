"""ONNX → TensorRT engine with its sidecar, from one recipe on TensorRT 8.5 to 11.

Not run on a GPU here: everything up to the builder is tested against the recorded names of the
real modules, the builder itself is a stand-in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ...common.errors import InputError
from ...common.files import existing_path, probe_writable
from ...common.laps import Laps
from .builder import Recipe, build_plan, make_builder
from .dla import refuse_dla
from .failure import BuildLog
from .finish import finish
from .machine import Machine, find_machine
from .precision import refuse_precision
from .repeat import RebuildVariance
from .report import BuildReport
from .request import BuildRequest, refuse_device, refuse_generation
from .shapes import refuse_misfits, shape_ranges
from .source import BuildSource, read_source
from .timing_cache import CacheKey, load_cache, store_cache

if TYPE_CHECKING:
    from ...models.checkpoints.settings import Settings
    from ...runtimes.cuda.library import DeviceInfo

Say = Callable[[str], None]
Compare = Callable[[list[Path]], RebuildVariance]
SUFFIX = ".engine"


def build(
    source: str | Path,
    output: str | Path,
    *,
    settings: Settings | None = None,
    say: Say = lambda line: None,  # noqa: ARG005 - nobody listens
    trt: Any = None,
    device: DeviceInfo | None = None,
    compare: Compare | None = None,
    **options: Any,
) -> BuildReport:
    """Build a TensorRT engine for this machine's GPU and write it with its sidecar.

    Args:
        source: an ONNX file: FP32, FP16, or with Q/DQ; ours or foreign.
        output: FILE.engine to write, and FILE.engine.json beside it; the folder must exist.
        settings: what the user states about a foreign file.
        say: gets a line at every step.
        trt: the tensorrt module; the installed one.
        device: the GPU; the one CUDA names first.
        compare: what times the engines of `repeat` builds; `repeat_measure.compare_engines`.
        options: the fields of `BuildRequest`.

    Raises:
        InputError: the request, the file or this TensorRT does not fit; nothing is written.
        CheckFailedError: the parser or the builder failed; nothing is written, but the first
            engine stays where a later one of `repeat` fails.
        MissingDependencyError: TensorRT or CUDA is not installed.
    """
    request, target = BuildRequest(**options), Path(output)
    _refuse_target(Path(source), target)
    machine = find_machine(trt, device)
    refuse_generation(request, machine.generation, machine.version)
    portability = refuse_device(request, machine.device)
    clock = Laps()
    say(f"graph        {source}")
    found = read_source(Path(source), settings, layer_norm=machine.generation.layer_norm)
    recipe = _recipe(found, request, machine)
    clock.lap("graph")
    say(f"build        TensorRT {machine.version} on {machine.device.name}")
    report = _build_one(target, recipe, found, machine)
    clock.lap("build")
    variance = None
    if request.repeat > 1:
        variance = _repeat(target, recipe, found, machine, say, compare)
        clock.lap("repeat")
    notes = (*portability, *_graph_notes(found, machine), *report.notes)
    return replace(report, seconds=clock.seconds, notes=notes, variance=variance)


def _refuse_target(source: Path, target: Path) -> None:
    existing_path(source, "an ONNX file")
    if target.suffix.lower() != SUFFIX:
        raise InputError(
            f"Expected a name that ends in {SUFFIX}, but got {target}: other commands know an "
            "engine by it."
        )
    if source.exists() and target.exists() and source.samefile(target):
        raise InputError(f"Expected another file to write than the source, but got {target} twice.")
    probe_writable(target)


def _recipe(found: BuildSource, request: BuildRequest, machine: Machine) -> Recipe:
    """Return what decides the build, after everything that can be refused has been."""
    name, version = found.artifact.path.name, machine.version
    refuse_precision(found.found, machine.generation, version, fp16=request.fp16, name=name)
    ranges = shape_ranges(found.image, request, found.artifact.contract.size_px)
    refuse_misfits(found.model, found.image, ranges)
    if request.dla_core is not None:
        builder = make_builder(machine.trt, BuildLog().logger(machine.trt))
        refuse_dla(found.model, found.image, found.found, version, builder.num_DLA_cores)
    return Recipe(
        found.model.SerializeToString(),
        found.names,
        found.image,
        ranges,
        found.found,
        request,
        machine.generation,
        total_mib=machine.device.total_mib,
    )


def _build_one(target: Path, recipe: Recipe, found: BuildSource, machine: Machine) -> BuildReport:
    """Build with the times of earlier builds where they may be shared, and keep the new ones."""
    request, generation = recipe.request, machine.generation
    if not (request.timing_cache and request.repeat == 1 and generation.timing_cache):
        return finish(target, build_plan(machine.trt, recipe), recipe, found, machine)
    key = CacheKey(machine.device.name, machine.device.sm, machine.version)
    known, note = load_cache(key.path(), key)
    plan = build_plan(machine.trt, replace(recipe, cache=known))
    report = finish(target, plan, recipe, found, machine)
    kept = store_cache(key.path(), key, plan.cache or b"")
    return replace(report, notes=(*filter(None, (note, kept)), *report.notes))


def _repeat(
    target: Path,
    recipe: Recipe,
    found: BuildSource,
    machine: Machine,
    say: Say,
    compare: Compare | None,
) -> RebuildVariance:
    """Build the same again and compare; the first engine is the one that is kept."""
    from .repeat_measure import compare_engines

    with TemporaryDirectory(prefix="segship-") as folder:
        paths = [target]
        for index in range(2, recipe.request.repeat + 1):
            say(f"build        again, {index} of {recipe.request.repeat}")
            paths.append(Path(folder) / f"{index}{SUFFIX}")
            finish(paths[-1], build_plan(machine.trt, recipe), recipe, found, machine)
        return (compare or compare_engines)(paths)


def _graph_notes(found: BuildSource, machine: Machine) -> tuple[str, ...]:
    """Say what was changed in the graph for this TensorRT, and what its parser may not know."""
    notes, highest = [], machine.generation.max_opset
    if found.norms_apart:
        notes.append(
            f"{found.norms_apart} LayerNormalization taken apart, in FP32: TensorRT "
            f"{machine.version} has no such operator"
        )
    if found.opset > highest:
        notes.append(
            f"the graph has opset {found.opset}, and TensorRT {machine.version} knows up to "
            f"{highest}: export with --opset if its parser refuses it"
        )
    return tuple(notes)
