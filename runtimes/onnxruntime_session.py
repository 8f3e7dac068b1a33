"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.errors import InputError, MissingDependencyError
from .artifact import HALF_QDQ, Artifact, Lineage
from .onnx_file import read_onnx_file
from .per_shape import PerShape, Shape
from .session import Array, Session, TensorInfo, describe_heads


class OnnxRuntimeSession(Session):
    """An ONNX artifact on ONNX Runtime's CPU provider, every graph optimisation on."""

    runtime = "onnxruntime"

    def __init__(self, artifact: Artifact, precision: str, threads: int) -> None:
        """Open `artifact` with `threads` threads inside an operator; `precision` is "fp32"."""
        self.precision, self.threads, self.contract = precision, threads, artifact.contract
        self.notes = (*self.notes, *half_notes(artifact.lineage))
        file = read_onnx_file(artifact.path)
        (self.input,) = file.inputs
        self.outputs, self._names = describe_heads(file.outputs, self.contract.heads)
        self._graphs: PerShape[Any] = PerShape(
            lambda shape: _open(artifact.path, threads, self.input, shape),
            self.input,
            self.contract,
        )

    def _run(self, pixels: Array) -> dict[str, Array]:
        """Run and return fresh arrays."""
        graph = self._graphs.graph_for(pixels.shape)
        results = graph.run(self._names, {self.input.name: pixels})
        return dict(zip(self.contract.heads, results, strict=True))

    def close(self) -> None:
        """Free the sessions and their threads."""
        del self._graphs


def half_notes(lineage: Lineage) -> tuple[str, ...]:
    """Return a warning where Q/DQ are in FP16: https://github.com/microsoft/onnxruntime/issues/22741."""
    if not any(HALF_QDQ in item.notes for item in lineage.passes):
        return ()
    return (
        "ONNX Runtime's CPU kernels truncate where FP16 is quantized: labels differ from those of "
        "the target; `segship quantize --eval` judges this file as FP16 hardware rounds.",
    )


def _open(path: Path, threads: int, taken: TensorInfo, shape: Shape | None) -> Any:
    """Open a file, with free dimensions fixed to `shape` if given."""
    return new_session(str(path), threads, fixed=fixed_dimensions(taken, shape), label=str(path))


def fixed_dimensions(taken: TensorInfo, shape: Shape | None) -> dict[str, int]:
    """Return the length of every free dimension of `taken` at `shape`, {} where it is None."""
    free = zip(taken.shape, shape or (), strict=bool(shape))
    return {name: length for name, length in free if isinstance(name, str)}


def new_session(
    model: str | bytes,
    threads: int,
    *,
    label: str,
    fixed: Mapping[str, int] | None = None,
    quiet: bool = False,
    providers: Sequence[Any] = ("CPUExecutionProvider",),
    profile: str = "",
) -> Any:
    """Return an `onnxruntime.InferenceSession` that leaves other threads alone.

    Args:
        model: path or bytes of an ONNX model.
        threads: threads of one run.
        label: what errors call the model.
        fixed: free dimension → its length.
        quiet: log nothing, where the error says it all.
        providers: names, or pairs of name and options, the first preferred.
        profile: where to write a profile, as the beginning of a path; "" for none.

    Raises:
        InputError: ONNX Runtime cannot run the model.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "Expected ONNX Runtime, but it is not installed: pip install onnxruntime."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4 if quiet else 3
    # Threads may spin inside a run; between runs they would steal the cores of post-processing.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    for name, length in (fixed or {}).items():
        options.add_free_dimension_override_by_name(name, length)
    try:
        return onnxruntime.InferenceSession(model, options, providers=list(providers))
    except Exception as error:  # its exception classes share no public base
        reason = " ".join(str(error).split())
        raise InputError(f"ONNX Runtime cannot open {label}: {reason[:300]}") from error
