"""Open any artifact on any runtime: the one door to `Session`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..common.files import sha256_file
from ..common.machine import usable_cores
from ..data.contract import Contract
from .artifact import Artifact, Lineage
from .catalog import (
    PRECISIONS,
    RUNTIMES,
    installed_version,
    refuse_other_kind,
    refuse_other_precision,
    runtime_named,
)
from .onnx_artifact import read_onnx_artifact
from .session import Session
from .torchscript_file import is_torchscript, read_torchscript_artifact, refuse_unasked

if TYPE_CHECKING:
    from ..models.checkpoints.settings import Settings

_AUTO_ONNX = ("onnxruntime", "openvino")  # "auto" times these; GPUs are asked for by name
_LISTED = ("torch", *_AUTO_ONNX)
_THREADS_NOTE = "Runtime {} computes on the GPU: {} threads change its work on the host only."
__all__ = ["PRECISIONS", "RUNTIMES", "available_runtimes", "load_artifact", "open_session"]


@dataclass(frozen=True)
class RuntimeStatus:
    """A runtime segship can drive: its version, None where missing, and how to install it."""

    name: str
    version: str | None
    install: str


def available_runtimes() -> tuple[RuntimeStatus, ...]:
    """Return the runtimes of a CPU with their installed versions; imports none of them."""
    return tuple(
        RuntimeStatus(name, _version(name), runtime_named(name).install) for name in _LISTED
    )


def load_artifact(
    path: str | Path, contract: Contract | None = None, *, settings: Settings | None = None
) -> Artifact:
    """Read what an ONNX file, a TensorRT engine or a checkpoint is: contract, lineage, hash.

    Args:
        path: an ONNX file, an engine or a TorchScript archive with its sidecar, a checkpoint
            folder or file, or a hub id.
        contract: how to use an ONNX file; overrides the file's own. Without one and without a
            contract inside, the shapes and the sidecar `FILE.onnx.segship.yaml` say it, and
            `lineage.assumptions` states what was taken for granted.
        settings: what the user states about the file; goes over its sidecar.

    Raises:
        InputError: the path is missing, is neither, is damaged, or is no segmentation model.
    """
    kind = _kind(path)
    if kind == "engine":
        return _engine_artifact(Path(path))
    if kind == "checkpoint":
        return _checkpoint_artifact(path, settings)
    if kind == "torchscript":
        return read_torchscript_artifact(Path(path), contract, settings)
    return read_onnx_artifact(Path(path), contract, settings)


def open_session(
    source: str | Path | Artifact,
    *,
    runtime: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Session:
    """Open an artifact or checkpoint and return the session that runs it.

    Args:
        source: a path, a hub id, or what `load_artifact` returned.
        runtime: a name of `RUNTIMES`, or "auto": torch for a checkpoint, tensorrt for an engine;
            for ONNX the faster of those installed for the CPU, tried once and remembered.
        precision: a name of `PRECISIONS` the runtime computes in, or "auto": fp32, or what an
            engine was built in.
        threads: None uses the physical cores this process may use.

    Raises:
        InputError: source, runtime and precision do not fit together.
        MissingDependencyError: the runtime is not installed.
    """
    kind = source.kind if isinstance(source, Artifact) else _kind(source)
    place = source.path if isinstance(source, Artifact) else source
    runtime = _resolve_runtime(runtime, precision, kind, place)
    precision = _resolve_precision(runtime, precision)
    count = usable_cores() if threads is None else threads
    if count < 1:
        raise InputError(f"Expected at least one thread, but got {count}.")
    if kind == "checkpoint":
        session = _open_checkpoint(runtime, place, precision, count)
    else:
        artifact = source if isinstance(source, Artifact) else load_artifact(source)
        if kind == "engine":
            precision = _engine_precision(artifact.path, precision)
        session = _open_file(runtime, artifact, precision, count)
    if threads is not None and _on_gpu(session.runtime):
        session.notes += (_THREADS_NOTE.format(session.runtime, threads),)
    return session


def _open_checkpoint(runtime: str, place: str | Path, precision: str, threads: int) -> Session:
    if runtime == "torch-tensorrt":
        from .torch_tensorrt_session import TorchTensorRtSession

        return TorchTensorRtSession(place, precision, threads)
    from .torch_session import TorchSession

    return TorchSession(place, precision, threads, runtime=runtime)


def _open_file(runtime: str, artifact: Artifact, precision: str, threads: int) -> Session:
    if runtime == "auto":
        from .choose import open_faster

        openers = {name: _opener(name) for name in _AUTO_ONNX if _version(name)}
        return open_faster(artifact, precision, threads, openers)
    return _opener(runtime)(artifact, precision, threads)


def _opener(runtime: str) -> Callable[[Artifact, str, int], Session]:
    """Return what opens a file on `runtime`: called with artifact, precision and threads."""
    if runtime == "torchscript":
        from .torchscript_session import TorchScriptSession

        return TorchScriptSession
    if runtime == "openvino":
        from .openvino_session import OpenVinoSession

        return OpenVinoSession
    if runtime == "tensorrt":
        from .tensorrt.session import TensorRtSession

        return TensorRtSession
    if runtime == "onnxruntime":
        from .onnxruntime_session import OnnxRuntimeSession

        return OnnxRuntimeSession
    from .onnxruntime_gpu import OnnxRuntimeGpuSession

    return partial(OnnxRuntimeGpuSession, runtime=runtime)


def _resolve_runtime(runtime: str, precision: str, kind: str, place: str | Path) -> str:
    """Return the runtime asked for; "auto" only where two could run the file."""
    if runtime == "auto" and kind == "torchscript":
        refuse_unasked(place)
    if runtime == "auto":
        if kind == "onnx":
            return "openvino" if precision == "bf16" else "auto"
        return {"checkpoint": "torch", "engine": "tensorrt"}[kind]
    refuse_other_kind(runtime_named(runtime), kind, str(place))
    return runtime


def _resolve_precision(runtime: str, precision: str) -> str:
    """Return what the runtime will compute in; "auto" stays where only the engine knows."""
    if precision == "auto":
        return "auto" if runtime == "tensorrt" else "fp32"
    refuse_other_precision(
        runtime_named("onnxruntime" if runtime == "auto" else runtime), precision
    )
    return precision


def _engine_precision(path: Path, wanted: str) -> str:
    """Return what an engine computes in; it was decided when it was built.

    Raises:
        InputError: another precision is wanted.
    """
    from .tensorrt.sidecar import read_sidecar

    built = read_sidecar(path).precision
    precision = built if built in PRECISIONS else "mixed"
    if wanted not in ("auto", precision):
        raise InputError(
            f"Expected {precision} for {path}, as it was built, but got {wanted}: "
            f"build an engine in {wanted}, or leave the precision out."
        )
    return precision


def _on_gpu(runtime: str) -> bool:
    return runtime in RUNTIMES and runtime_named(runtime).gpu


def _kind(source: str | Path) -> str:
    """Return "onnx", "engine", "torchscript" or "checkpoint"; refuse what is none of them."""
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix in (".onnx", ".engine"):
        if path.is_file():
            return suffix[1:]
        what = "an ONNX file" if suffix == ".onnx" else "a TensorRT engine"
        raise InputError(f"Expected {what}, but {source} is none: check the path.")
    if is_torchscript(path):
        return "torchscript"
    from ..models.checkpoints import looks_like_checkpoint

    if looks_like_checkpoint(source):
        return "checkpoint"
    if not path.exists():
        raise InputError(
            f"Expected an artifact or a checkpoint, but {source} does not exist: check the path."
        )
    raise InputError(
        f"Expected an .onnx file, an .engine file or a checkpoint, but {source} is none: "
        "check the path."
    )


def _engine_artifact(path: Path) -> Artifact:
    from .tensorrt.sidecar import read_sidecar

    info = read_sidecar(path)
    return Artifact(path, "engine", info.contract, info.lineage, sha256_file(path))


def _checkpoint_artifact(source: str | Path, settings: Settings | None) -> Artifact:
    from ..models.checkpoints import load_checkpoint

    found = load_checkpoint(source, settings=settings)
    origin = found.spec.provenance
    lineage = Lineage(
        source=origin.source,
        source_sha256=origin.sha256,
        flavour=origin.flavour,
        variant=found.spec.variant,
        parameters=sum(weight.numel() for weight in found.model.parameters()),
        licence_note=origin.licence_note,
    )
    return Artifact(found.path, "checkpoint", found.contract, lineage, origin.sha256)


def _version(name: str) -> str | None:
    return installed_version(runtime_named(name))
