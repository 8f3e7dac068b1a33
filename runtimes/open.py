"""Open any artifact on any runtime: the one door to `Session`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..common.machine import usable_cores
from ..data.contract import Contract
from .artifact import Artifact, Lineage
from .onnx_artifact import read_onnx_artifact
from .session import Session

if TYPE_CHECKING:
    from ..models.checkpoints.settings import Settings

RUNTIMES = ("torch", "onnxruntime", "openvino")
_ONNX_RUNTIMES = ("onnxruntime", "openvino")
PRECISIONS = ("fp32", "bf16")
_INSTALL = {
    "torch": "pip install torch",
    "onnxruntime": "pip install onnxruntime",
    "openvino": "pip install 'segship[openvino]'",
}


@dataclass(frozen=True)
class RuntimeStatus:
    """A runtime segship can drive: its version, None where missing, and how to install it."""

    name: str
    version: str | None
    install: str


def available_runtimes() -> tuple[RuntimeStatus, ...]:
    """Return every runtime with its installed version; imports none of them."""
    return tuple(RuntimeStatus(name, _version(name), _INSTALL[name]) for name in RUNTIMES)


def load_artifact(
    path: str | Path, contract: Contract | None = None, *, settings: Settings | None = None
) -> Artifact:
    """Read what an ONNX file or a checkpoint is: contract, lineage, hash.

    Args:
        path: an ONNX file, a checkpoint folder or file, or a hub id.
        contract: how to use an ONNX file; overrides the file's own. Without one and without a
            contract inside, the shapes and the sidecar `FILE.onnx.segship.yaml` say it, and
            `lineage.assumptions` states what was taken for granted.
        settings: what the user states about the file; goes over its sidecar.

    Raises:
        InputError: the path is missing, is neither, is damaged, or is no segmentation model.
    """
    if not _is_onnx(path):
        return _checkpoint_artifact(path, settings)
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
        runtime: "torch" (checkpoints), "onnxruntime", "openvino", or "auto": torch for a
            checkpoint; for ONNX the faster of the installed ones, tried once and remembered.
        precision: "fp32", "bf16" (OpenVINO on a CPU that computes in it), or "auto": fp32.
        threads: None uses the physical cores this process may use.

    Raises:
        InputError: source, runtime and precision do not fit together.
        MissingDependencyError: the runtime is not installed.
    """
    onnx = source.kind == "onnx" if isinstance(source, Artifact) else _is_onnx(source)
    place = source.path if isinstance(source, Artifact) else source
    runtime = _resolve_runtime(runtime, precision, onnx, place)
    precision = _resolve_precision(runtime, precision)
    count = usable_cores() if threads is None else threads
    if count < 1:
        raise InputError(f"Expected at least one thread, but got {count}.")
    if runtime == "torch":
        from .torch_session import TorchSession

        return TorchSession(place, precision, count)
    artifact = source if isinstance(source, Artifact) else load_artifact(source)
    if runtime == "auto":
        from .choose import open_faster

        openers = {name: _onnx_opener(name) for name in _ONNX_RUNTIMES if _version(name)}
        return open_faster(artifact, precision, count, openers)
    return _onnx_opener(runtime)(artifact, precision, count)


def _onnx_opener(runtime: str) -> Callable[[Artifact, str, int], Session]:
    if runtime == "openvino":
        from .openvino_session import OpenVinoSession

        return OpenVinoSession
    from .onnxruntime_session import OnnxRuntimeSession

    return OnnxRuntimeSession


def _resolve_runtime(runtime: str, precision: str, onnx: bool, place: str | Path) -> str:
    """Return the runtime asked for; "auto" only where two could run the file."""
    if runtime == "auto":
        if not onnx:
            return "torch"
        return "openvino" if precision == "bf16" else "auto"
    if runtime not in RUNTIMES:
        raise InputError(f"Expected a runtime of auto, {', '.join(RUNTIMES)}, but got {runtime!r}.")
    if onnx and runtime == "torch":
        raise InputError(
            f"Expected a checkpoint for runtime torch, but {place} is ONNX: "
            "use onnxruntime or openvino."
        )
    if not onnx and runtime != "torch":
        raise InputError(
            f"Expected an ONNX file for runtime {runtime}, but {place} is a checkpoint: "
            f"run segship export {place} -o model.onnx first."
        )
    return runtime


def _resolve_precision(runtime: str, precision: str) -> str:
    if precision not in ("auto", *PRECISIONS):
        raise InputError(
            f"Expected a precision of auto, {', '.join(PRECISIONS)}, but got {precision!r}."
        )
    if precision == "bf16" and runtime != "openvino":
        raise InputError(
            f"Expected runtime openvino for bf16, but got {runtime}: it runs fp32 on a CPU."
        )
    return "fp32" if precision == "auto" else precision


def _is_onnx(source: str | Path) -> bool:
    """Say whether `source` is an ONNX file rather than a checkpoint; refuse what is neither."""
    path = Path(source)
    if path.suffix.lower() == ".onnx":
        if path.is_file():
            return True
        raise InputError(f"Expected an ONNX file, but {source} is none: check the path.")
    from ..models.checkpoints import looks_like_checkpoint

    if looks_like_checkpoint(source):
        return False
    if not path.exists():
        raise InputError(
            f"Expected an artifact or a checkpoint, but {source} does not exist: check the path."
        )
    raise InputError(
        f"Expected an .onnx file or a checkpoint, but {source} is neither: check the path."
    )


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
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
