"""Graphs and pictures small enough to know their values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SIDE_PX = 8


@pytest.fixture
def small_graph(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes pixels (1,3,8,8) → doubled → ReLU → mean over space, and more.

    `dynamic` leaves height and width free; `extra` adds nodes behind "doubled".
    """
    from onnx import TensorProto, helper, numpy_helper, save

    def write(*, dynamic: bool = False, extra: tuple[Any, ...] = ()) -> Path:
        size = ["h", "w"] if dynamic else [SIDE_PX, SIDE_PX]
        nodes = [
            helper.make_node("Constant", [], ["two"], value_float=2.0),
            helper.make_node("Mul", ["pixels", "two"], ["doubled"]),
            helper.make_node("Transpose", ["doubled"], ["turned"], perm=[0, 2, 3, 1]),
            helper.make_node("Relu", ["turned"], ["kept"]),
            helper.make_node("Shape", ["kept"], ["shape"]),
            helper.make_node("Cast", ["shape"], ["shape_float"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["weight", "two"], ["constant"]),
            helper.make_node("ReduceMean", ["kept"], ["mean"], axes=[1, 2]),
            helper.make_node("Add", ["mean", "constant"], ["out"]),
            *extra,
        ]
        graph = helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, *size])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3])],
            [numpy_helper.from_array(np.ones(3, np.float32), "weight")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / "small.onnx"
        save(model, str(path))
        return path

    return write


@pytest.fixture
def some_images() -> list[NDArray[np.float32]]:
    """Five images (1,3,8,8) float32 of growing contrast."""
    random = np.random.default_rng(11)
    shape = (1, 3, SIDE_PX, SIDE_PX)
    return [random.normal(0, 1 + step, shape).astype(np.float32) for step in range(5)]
