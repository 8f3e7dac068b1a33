"""OpenVINO on the CPU, FP32 or BF16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..common.errors import InputError, MissingDependencyError
from .artifact import Artifact
from .onnx_file import read_onnx_file
from .openvino_defects import refuse_wrong_int8
from .per_shape import PerShape, Shape
from .session import Array, Session, describe_heads

_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoSession(Session):
    """An ONNX artifact on OpenVINO's CPU plug-in, one request at a time, latency first."""

    runtime = "openvino"

    def __init__(self, artifact: Artifact, precision: str, threads: int) -> None:
        """Compile `artifact` for `threads` threads, computing in "fp32" or "bf16"."""
        self.precision, self.threads, self.contract = precision, threads, artifact.contract
        file = read_onnx_file(artifact.path)
        (self.input,) = file.inputs
        self.outputs, names = describe_heads(file.outputs, self.contract.heads)
        listed = [item.name for item in file.outputs]
        self._ports = tuple(listed.index(name) for name in names)
        self._requests: PerShape[Any] = PerShape(
            lambda shape: compile_onnx(
                artifact.path, precision, threads, shape
            ).create_infer_request(),
            self.input,
            self.contract,
        )

    def _run(self, pixels: Array) -> dict[str, Array]:
        """Run on `pixels` in place; the arrays are the request's own memory."""
        request = self._requests.graph_for(pixels.shape)
        results = request.infer(pixels, share_inputs=True, share_outputs=True)
        heads = zip(self.contract.heads, self._ports, strict=True)
        return {head: results[port] for head, port in heads}

    def close(self) -> None:
        """Free the requests and the compiled model."""
        del self._requests


def supports_bf16() -> bool:
    """Say whether OpenVINO computes in BF16 on this CPU (AVX512-BF16 or AMX)."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def compile_onnx(path: Path, precision: str, threads: int, shape: Shape | None = None) -> Any:
    """Return the `openvino.CompiledModel` of an ONNX file, tuned for the latency of one request.

    Args:
        path: the ONNX file.
        precision: what it computes in, "fp32" or "bf16".
        threads: threads of the request.
        shape: fixes the input's shape; None leaves free dimensions free.

    Raises:
        InputError: OpenVINO cannot run the file or would compute it wrongly, or the CPU cannot
            compute in BF16.
        MissingDependencyError: OpenVINO is not installed.
    """
    core = _core()
    if precision == "bf16" and not supports_bf16():
        raise InputError(
            "Expected a CPU with BF16 (AVX512-BF16 or AMX), but this one has none: use fp32."
        )
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        # without the hint OpenVINO computes in BF16 wherever the CPU can
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        # two pinned processes would share the same cores while others idle
        "ENABLE_CPU_PINNING": False,
    }
    try:
        model = core.read_model(str(path))
        refuse_wrong_int8(model, path, precision)
        if shape is not None:
            model.reshape(list(shape))
        if model.is_dynamic():
            # 2026.4: after a first run with one key token (32x32), its cached attention kernels
            # give wrong numbers at every later shape; without them nothing was slower (AVX2)
            settings["SNIPPETS_MODE"] = "DISABLE"
        return core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"OpenVINO cannot open {path}: {reason[:300]}") from error


def _core() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise MissingDependencyError(
            "Expected OpenVINO, but it is not installed: pip install 'segship[openvino]'."
        ) from error
    return openvino.Core()
