"""OpenVINO on the CPU, FP32 or BF16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..common.errors import InputError, MissingDependencyError
from .artifact import Artifact
from .session import Array, Session, TensorInfo, head_order

_DTYPES = {
    "f32": "float32",
    "f16": "float16",
    "u8": "uint8",
    "i32": "int32",
    "i64": "int64",
}
_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoSession(Session):
    """An ONNX artifact on OpenVINO's CPU plug-in, one request, latency first."""

    runtime = "openvino"

    def __init__(self, artifact: Artifact, precision: str, threads: int) -> None:
        """Compile `artifact` for `threads` threads, computing in "fp32" or "bf16"."""
        self.precision, self.threads, self.contract = precision, threads, artifact.contract
        compiled = compile_onnx(artifact.path, precision, threads)
        self._request = compiled.create_infer_request()
        self.input = _tensor(compiled.inputs[0])
        names = tuple(port.get_any_name() for port in compiled.outputs)
        order = head_order(names, self.contract.heads)
        self._ports = tuple(names.index(name) for name in order)
        described = [_tensor(compiled.outputs[port]) for port in self._ports]
        self.outputs = tuple(
            TensorInfo(head, item.dtype, item.shape)
            for head, item in zip(self.contract.heads, described, strict=True)
        )

    def _run(self, pixels: Array) -> dict[str, Array]:
        """Run on `pixels` in place; the arrays are the request's own memory."""
        results = self._request.infer(pixels, share_inputs=True, share_outputs=True)
        heads = zip(self.contract.heads, self._ports, strict=True)
        return {head: results[port] for head, port in heads}

    def close(self) -> None:
        """Free the request and the compiled model."""
        self._request = None


def supports_bf16() -> bool:
    """Say whether OpenVINO computes in BF16 on this CPU (AVX512-BF16 or AMX)."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _core() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise MissingDependencyError(
            "Expected OpenVINO, but it is not installed: pip install 'segship[openvino]'."
        ) from error
    return openvino.Core()


def compile_onnx(path: Path, precision: str, threads: int) -> Any:
    """Return the `openvino.CompiledModel` of an ONNX file, tuned for the latency of one request."""
    core = _core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError(
            "Expected a CPU with BF16 (AVX512-BF16 or AMX), but this one has none: use fp32."
        )
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        # without the hint OpenVINO computes in BF16 wherever the CPU can
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
    }
    try:
        return core.compile_model(core.read_model(str(path)), "CPU", settings)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"OpenVINO cannot open {path}: {reason[:300]}") from error


def _tensor(port: Any) -> TensorInfo:
    """Return the description of a compiled input or output; a free dimension gets a name."""
    shape = tuple(
        dim.get_length() if dim.is_static else f"dim{axis}"
        for axis, dim in enumerate(port.get_partial_shape())
    )
    dtype = port.get_element_type().get_type_name()
    return TensorInfo(port.get_any_name(), _DTYPES.get(dtype, dtype), shape)
