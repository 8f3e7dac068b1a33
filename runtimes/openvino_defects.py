"""Graphs that OpenVINO would compute wrongly, found before they run.

docs/decisions/0008-openvino-int8-patches.md has what was seen and how to see it again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.machine import read_processor

_PATCHES_PX = (4, 8)
_CHANNELS = 64  # AMX tiles hold 64 bytes: other counts go through the wrong kernel
_LAYOUT = ("Transpose", "Reshape", "Squeeze", "Unsqueeze")
_DEQUANTIZE = ("Multiply", "Subtract", "Convert", "FakeQuantize")


def refuse_wrong_int8(model: Any, path: Path, precision: str) -> None:
    """Refuse INT8 convolutions that are wrong in FP32 on a CPU with AMX.

    Args:
        model: the `openvino.Model` as read.
        path: of the file, for the message.
        precision: what the rest computes in; BF16 takes another kernel.

    Raises:
        InputError: one is there; names it and the ways out.
    """
    if precision != "fp32" or "amx_int8" not in read_processor().flags:
        return
    for operator in model.get_ops():
        if operator.get_type_name() == "Convolution" and _is_wrong(operator):
            _, channels, side, _ = _weight_shape(operator)
            raise InputError(
                f"Expected BF16 for {path} on this CPU, but FP32 was asked: OpenVINO computes INT8 "
                f"convolutions of {side}x{side} over {channels} channels wrongly there "
                f"({operator.get_friendly_name()}): use openvino:bf16 or onnxruntime."
            )


def _is_wrong(convolution: Any) -> bool:
    shape = _weight_shape(convolution)
    narrow = len(shape) == 4 and shape[-1] in _PATCHES_PX and shape[1] % _CHANNELS != 0
    return narrow and _dequantized(convolution)


def _weight_shape(convolution: Any) -> list[int]:
    """Return (out, in, height, width) of the filters; nothing where they are not fixed."""
    shape = convolution.input_value(1).get_partial_shape()
    return list(shape.to_shape()) if shape.is_static else []


def _dequantized(convolution: Any) -> bool:
    """Say whether the data input comes out of a DequantizeLinear, layout operators apart."""
    node = convolution.input_value(0).get_node()
    while node.get_type_name() in _LAYOUT:
        node = node.input_value(0).get_node()
    return node.get_type_name() in _DEQUANTIZE
