"""The builder itself: one recipe for every generation of TensorRT, the module a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...common.errors import InputError
from ...runtimes.session import TensorInfo
from ...runtimes.tensorrt.sidecar import ShapeRange
from .failure import BuildLog, build_failure, parser_failure
from .precision import FP16, GraphPrecision
from .request import BuildRequest
from .shapes import is_static
from .timing_cache import attach_cache
from .weak_typing import constrain

if TYPE_CHECKING:
    from ...runtimes.tensorrt.versions import Generation

_MEBI = 1 << 20


@dataclass(frozen=True)
class Recipe:
    """Everything a build is decided by, before TensorRT is called.

    `names` are the graph's nodes in order; `cache` the bytes of a timing cache, None for a build
    that must not share times with another; `total_mib` the device's memory, for messages.
    """

    model: bytes
    names: tuple[str, ...]
    image: TensorInfo
    ranges: tuple[ShapeRange, ...]
    found: GraphPrecision
    request: BuildRequest
    generation: Generation
    cache: bytes | None = None
    total_mib: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A serialized engine, what the timing cache became, and what was worth saying."""

    data: bytes
    cache: bytes | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def build_plan(trt: Any, recipe: Recipe) -> Plan:
    """Build one engine and return its bytes.

    Raises:
        CheckFailedError: the parser or the builder failed: node, part and reason in one line.
        InputError: the configuration is not one this TensorRT takes.
    """
    log = BuildLog()
    logger = log.logger(trt)
    builder = make_builder(trt, logger)
    network = builder.create_network(network_flags(trt, recipe.generation))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(recipe.model):
        raise parser_failure(parser, recipe.names)
    config = builder.create_builder_config()
    notes = configure(trt, builder, network, config, recipe)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise build_failure(
            log,
            recipe.names,
            workspace_mib=recipe.request.workspace_mib,
            total_mib=recipe.total_mib,
        )
    cache = bytes(config.get_timing_cache().serialize()) if recipe.cache is not None else None
    return Plan(bytes(serialized), cache, notes, tuple(dict.fromkeys(log.warnings)))


def make_builder(trt: Any, logger: Any) -> Any:
    """Return a builder.

    Raises:
        InputError: TensorRT makes none, because there is no driver or no GPU.
    """
    try:
        return trt.Builder(logger)
    except (TypeError, RuntimeError) as error:  # the first is what its binding raises
        raise InputError(
            f"Expected an NVIDIA GPU and driver for TensorRT {trt.__version__}, but it makes no "
            f"builder ({error}): see segship doctor."
        ) from error


def network_flags(trt: Any, generation: Generation) -> int:
    """Return the flags a network is created with: types from the graph where that exists."""
    names = []
    if generation.explicit_batch_flag:
        names.append("EXPLICIT_BATCH")
    if generation.strong_typing == "flag":
        names.append("STRONGLY_TYPED")
    flags = trt.NetworkDefinitionCreationFlag
    return sum(1 << int(getattr(flags, name)) for name in names)


def configure(trt: Any, builder: Any, network: Any, config: Any, recipe: Recipe) -> tuple[str, ...]:
    """Fill in a builder configuration; return notes."""
    request, generation = recipe.request, recipe.generation
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if request.workspace_mib is not None:
        limit = request.workspace_mib * _MEBI
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, limit)
    if request.level is not None:
        config.builder_optimization_level = request.level
    if request.hardware != "none":
        level = request.hardware.upper().replace("-", "_")
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, level)
    for name, wanted in _flags(recipe).items():
        flag = getattr(trt.BuilderFlag, name)
        config.set_flag(flag) if wanted else config.clear_flag(flag)
    if request.dla_core is not None:
        _use_dla(trt, config, request.dla_core)
    if not is_static(recipe.image):
        _add_profiles(builder, config, recipe.image, recipe.ranges)
    notes: tuple[str, ...] = ()
    if generation.precision_flags and generation.strong_typing == "never":
        notes = constrain(trt, network, recipe.found, free=_chooses(recipe))
    cached = attach_cache(config, recipe.cache) if recipe.cache is not None else ""
    return (*notes, cached) if cached else notes


def _flags(recipe: Recipe) -> Mapping[str, bool]:
    """Return builder flags by name: set where True, cleared where False."""
    request, generation, found = recipe.request, recipe.generation, recipe.found
    flags = {"TF32": request.tf32}  # on by default, and a change of precision nobody asked for
    if request.sparse:
        flags["SPARSE_WEIGHTS"] = True
    if request.version_compatible:
        flags["VERSION_COMPATIBLE"] = True
    if generation.precision_flags and generation.strong_typing == "never":
        half = found.has(FP16) or request.fp16
        flags |= {name: True for name, on in _weak(half, bool(found.quantizers)) if on}
    if request.dla_core is not None:
        flags["GPU_FALLBACK"] = True
    return flags


def _weak(half: bool, quantized: bool) -> Sequence[tuple[str, bool]]:
    return (
        ("FP16", half),
        ("INT8", quantized),
        ("OBEY_PRECISION_CONSTRAINTS", half or quantized),
    )


def _chooses(recipe: Recipe) -> bool:
    """Say whether the user lets TensorRT choose FP16 in a graph that names none."""
    return recipe.request.fp16 and not recipe.found.has(FP16)


def _add_profiles(
    builder: Any, config: Any, image: TensorInfo, ranges: tuple[ShapeRange, ...]
) -> None:
    for item in ranges:
        profile = builder.create_optimization_profile()
        profile.set_shape(image.name, item.minimum, item.optimum, item.maximum)
        if config.add_optimization_profile(profile) < 0:
            raise InputError(
                f"Expected shapes TensorRT takes, but it refused {item.minimum} … {item.maximum}."
            )


def _use_dla(trt: Any, config: Any, core: int) -> None:
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
