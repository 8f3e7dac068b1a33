"""INT8 convolutions OpenVINO computes wrongly on AMX are refused, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from segship.common.errors import InputError
from segship.common.machine import Processor, read_processor
from segship.runtimes import openvino_defects
from segship.runtimes.openvino_session import compile_onnx, supports_bf16

HAS_AMX = "amx_int8" in read_processor().flags


def _convolution(path: Path, channels: int, side: int, *, quantized: bool = True) -> Path:
    """A convolution that reduces by `side`, its input behind Q/DQ and a Transpose-free path."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(channels, channels, side, side)).astype(np.float32) * 0.02
    steps = np.abs(weight).max(axis=(1, 2, 3)) / 127
    levels = np.rint(weight / steps[:, None, None, None]).astype(np.int8)
    constants = {
        "levels": levels,
        "steps": steps.astype(np.float32),
        "zeros": np.zeros(channels, np.int8),
        "step": np.float32(4 / 127),
        "zero": np.int8(0),
        "weight": weight,
    }
    nodes, data, filters = [], "x", "weight"
    if quantized:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["dq"]),
            helper.make_node("DequantizeLinear", ["levels", "steps", "zeros"], ["w"], axis=0),
        ]
        data, filters = "dq", "w"
    nodes.append(
        helper.make_node(
            "Conv", [data, filters], ["y"], kernel_shape=[side, side], strides=[side, side]
        )
    )
    shape = [1, channels, 64, 96]
    graph = helper.make_graph(
        nodes,
        "reduction",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture
def amx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this CPU claim AMX."""
    claimed = Processor("a Xeon", frozenset({"amx_int8"}))
    monkeypatch.setattr(openvino_defects, "read_processor", lambda: claimed)


@pytest.mark.usefixtures("amx")
@pytest.mark.parametrize(("channels", "side"), [(32, 8), (16, 4), (48, 8)])
def test_a_wrong_convolution_is_refused_in_fp32(tmp_path: Path, channels: int, side: int) -> None:
    path = _convolution(tmp_path / "m.onnx", channels, side)
    with pytest.raises(InputError, match=f"{side}x{side} over {channels} channels") as caught:
        compile_onnx(path, "fp32", 1)
    assert "openvino:bf16 or onnxruntime" in str(caught.value)


@pytest.mark.usefixtures("amx")
@pytest.mark.parametrize(
    ("channels", "side", "quantized"), [(64, 8, True), (32, 2, True), (32, 8, False)]
)
def test_others_are_not(tmp_path: Path, channels: int, side: int, quantized: bool) -> None:
    assert compile_onnx(_convolution(tmp_path / "m.onnx", channels, side, quantized=quantized),
                        "fp32", 1)  # fmt: skip  # a compiled model is true


def test_without_amx_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Processor("an EPYC", frozenset({"avx2"}))
    monkeypatch.setattr(openvino_defects, "read_processor", lambda: plain)
    assert compile_onnx(_convolution(tmp_path / "m.onnx", 32, 8), "fp32", 1)


def _error(path: Path, precision: str, monkeypatch: pytest.MonkeyPatch) -> float:
    """Return the mean square error against ONNX Runtime in units of the output's variance."""
    import onnxruntime

    with monkeypatch.context() as patch:
        patch.setattr(openvino_defects, "read_processor", lambda: Processor("", frozenset()))
        compiled: Any = compile_onnx(path, precision, 1)
    pixels = np.random.default_rng(1).normal(size=(1, 32, 64, 96)).astype(np.float32)
    got = next(iter(compiled(pixels).values()))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {"x": pixels})[0]
    return float(((got - wanted) ** 2).mean() / wanted.var())


@pytest.mark.skipif(not HAS_AMX, reason="needs a CPU with AMX")
def test_fp32_is_still_wrong_and_bf16_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the first line fails, OpenVINO has repaired it: remove docs/decisions/0008."""
    path = _convolution(tmp_path / "m.onnx", 32, 8)
    assert _error(path, "fp32", monkeypatch) > 0.5
    assert supports_bf16() and _error(path, "bf16", monkeypatch) < 1e-3
