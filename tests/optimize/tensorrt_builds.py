"""Small foreign graphs, and a build of them on recorded names instead of a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from segship.common.errors import CheckFailedError, InputError
from segship.optimize.tensorrt.build import build
from segship.optimize.tensorrt.report import BuildReport
from segship.runtimes.cuda.library import DeviceInfo
from segship.tests.optimize.quantize_graphs import graph_of
from segship.tests.runtimes.fake_tensorrt import fake_tensorrt

ORIN = DeviceInfo("Orin (nvgpu)", "8.7", "12.6", "12.6", 7620.0, True, "")
VERSIONS = ("8.6.0", "10.3.0", "11.4.0.106")
FC1 = "/encoder/stages.0/blocks.0/ffn/fc1/Conv"
SOFTMAX = "/encoder/stages.0/blocks.0/attn/Softmax"


def saved(folder: Path, nodes: list[onnx.NodeProto], weights: dict[str, Any]) -> Path:
    """A foreign model (1,3,64,64) → logits of two classes."""
    path = folder / "foreign.onnx"
    onnx.save(graph_of(nodes, weights, (1, 3, 64, 64)), str(path))
    return path


WEIGHT = np.ones((2, 3, 1, 1), np.float32)


def plain(folder: Path) -> Path:
    """fc1 and a softmax in FP32."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name=FC1),
        helper.make_node("Softmax", ["c"], ["out"], name=SOFTMAX, axis=1),
    ]
    return saved(folder, nodes, {"w": WEIGHT})


def half(folder: Path) -> Path:
    """fc1 in FP16, the softmax an island in FP32."""
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16, name="down"),
        helper.make_node("Conv", ["h", "w"], ["c"], name=FC1),
        helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT, name="up"),
        helper.make_node("Softmax", ["f"], ["out"], name=SOFTMAX, axis=1),
    ]
    return saved(folder, nodes, {"w": WEIGHT.astype(np.float16)})


def quantized(folder: Path) -> Path:
    """fc1 between Q/DQ, the softmax in FP32."""

    def pair(name: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("QuantizeLinear", [name, "s", "z"], [f"{name}q"], name=f"q_{name}"),
            helper.make_node("DequantizeLinear", [f"{name}q", "s", "z"], [f"{name}d"]),
        ]

    nodes = [
        *pair("x"),
        *pair("w"),
        helper.make_node("Conv", ["xd", "wd"], ["c"], name=FC1),
        helper.make_node("Softmax", ["c"], ["out"], name=SOFTMAX, axis=1),
    ]
    scale = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    return saved(folder, nodes, {"w": WEIGHT, **scale})


def built(
    source: Path, folder: Path, version: str, *, fake: dict[str, Any] | None = None, **options: Any
) -> tuple[BuildReport, Any]:
    """Build with a stand-in; return the report and what the builder was asked for."""
    trt = fake_tensorrt(version, **(fake or {}))
    report = build(source, folder / "m.engine", trt=trt, device=ORIN, **options)
    return report, trt._builds[0]


def refusal(source: Path, folder: Path, version: str, **options: Any) -> str:
    """The one line of a build that is refused and leaves nothing behind."""
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises((InputError, CheckFailedError)) as caught:
        built(source, folder, version, **options)
    left = sorted(path.name for path in folder.iterdir() if path.name != "cache")
    assert left == [name for name in before if name != "cache"]
    assert "\n" not in str(caught.value)
    return str(caught.value)
