"""Parameters and MACs counted on a graph, against the formula and against torch's own counter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from segship.benchmark.onnx_cost import onnx_cost
from segship.models.inspect import inspect_model


def save_conv(path: Path, *, groups: int) -> None:
    weight = numpy_helper.from_array(np.zeros((8, 4 // groups, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], group=groups)
    free: list[str | int | None] = ["batch", 4, "height", "width"]
    graph = helper.make_graph(
        [node],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, free)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)


@pytest.mark.parametrize("groups", [1, 4])
def test_a_convolution_costs_output_times_kernel_per_image(groups: int, tmp_path: Path) -> None:
    save_conv(tmp_path / "c.onnx", groups=groups)
    cost = onnx_cost(tmp_path / "c.onnx", (2, 4, 10, 20))
    assert cost.parameters == 8 * (4 // groups) * 9
    assert cost.gmacs == pytest.approx(8 * 10 * 20 * (4 // groups) * 9 / 1e9, rel=1e-12)  # float


@pytest.mark.parametrize("name", ["plain", "dynamic"])
def test_a_segformer_graph_costs_what_torch_counts(name: str, tiny: Callable[..., Any]) -> None:
    made = tiny(name, dynamic=name == "dynamic")
    want = inspect_model(made.model(), made.contract.size_px)
    cost = onnx_cost(made.path, (1, 3, *made.contract.size_px))
    assert cost.gmacs == pytest.approx(want.gmacs, rel=1e-6)  # float sums
    # The exporter folds BatchNorm into the convolution before it, so fewer numbers are stored.
    assert 0.9 * want.parameters < cost.parameters <= want.parameters


def test_an_unknown_shape_gives_no_number_instead_of_a_wrong_one(tmp_path: Path) -> None:
    save_conv(tmp_path / "c.onnx", groups=1)
    assert onnx_cost(tmp_path / "c.onnx", (1, 4, 10)).gmacs is None
