"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..common.errors import InputError, MissingDependencyError
from .artifact import Artifact
from .session import Array, Session, TensorInfo, head_order

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


class OnnxRuntimeSession(Session):
    """An ONNX artifact on ONNX Runtime's CPU provider, every graph optimisation on."""

    runtime = "onnxruntime"

    def __init__(self, artifact: Artifact, precision: str, threads: int) -> None:
        """Open `artifact` with `threads` threads inside an operator; `precision` is "fp32"."""
        self.precision, self.threads, self.contract = precision, threads, artifact.contract
        self._session = _open(artifact.path, threads)
        self.input = _tensor(self._session.get_inputs()[0])
        found = {item.name: _tensor(item) for item in self._session.get_outputs()}
        self._names = head_order(tuple(found), self.contract.heads)
        self.outputs = tuple(
            TensorInfo(head, found[name].dtype, found[name].shape)
            for head, name in zip(self.contract.heads, self._names, strict=True)
        )

    def _run(self, pixels: Array) -> dict[str, Array]:
        """Run and return fresh arrays."""
        results = self._session.run(self._names, {self.input.name: pixels})
        return dict(zip(self.contract.heads, results, strict=True))

    def close(self) -> None:
        """Free the session and its threads."""
        self._session = None


def _open(path: Path, threads: int) -> Any:
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
    options.log_severity_level = 3
    # Threads may spin inside a run; between runs they would steal the cores of post-processing.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exception classes share no public base
        reason = " ".join(str(error).split())
        raise InputError(f"ONNX Runtime cannot open {path}: {reason[:300]}") from error


def _tensor(node: Any) -> TensorInfo:
    """Return the description of one of the session's inputs or outputs."""
    shape = tuple(dim if isinstance(dim, int) else str(dim or "?") for dim in node.shape)
    return TensorInfo(node.name, _DTYPES.get(node.type, node.type), shape)
