"""What computes around INT8, in FP32 or in FP16: decided in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...common.errors import InputError

if TYPE_CHECKING:
    from .profile import Profile
    from .request import QuantizeRequest

FLOATS = ("auto", "fp32", "fp16")
HALF_OPSET = 19  # the first whose Q/DQ take FP16
CAST_QDQ = "FP16 around INT8, Q/DQ in FP32 between casts"


def half_around(request: QuantizeRequest, profile: Profile, opset: int) -> bool:
    """Say whether FP16 computes around INT8 in a graph of `opset`.

    "auto" is FP16 where the profile says so and Q/DQ can be FP16 without casts.

    Raises:
        InputError: FP16 for a CPU, which has no kernels for it.
    """
    if request.precision not in ("int8", "int8-all"):
        return False
    if request.float_type == "auto":
        return profile.float_type == "fp16" and opset >= HALF_OPSET
    if request.float_type == "fp16" and profile.runtime != "tensorrt":
        raise InputError(
            f"Expected FP32 around INT8 for {profile.title}, but got --float fp16: ONNX Runtime's "
            "kernels there quantize FP16 wrongly: name a --profile of TensorRT."
        )
    return request.float_type == "fp16"


def float_notes(request: QuantizeRequest, profile: Profile, opset: int) -> tuple[str, ...]:
    """Say where the graph has another float type than the profile's, or pays for it."""
    half = half_around(request, profile, opset)
    if half and opset < HALF_OPSET:
        return (
            f"opset {opset}: Q/DQ are float32 between casts, which may keep a builder from fusing "
            f"them; from opset {HALF_OPSET} on there are none",
        )
    if not half and request.float_type == "auto" and profile.float_type == "fp16":
        return (
            f"opset {opset}: FP32 around INT8, because Q/DQ take FP16 from opset {HALF_OPSET} on: "
            f"export with --opset {HALF_OPSET}, or insist with --float fp16",
        )
    return ()
