"""Optimization profiles from options and graphs, and the sizes that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from segship.common.errors import InputError
from segship.optimize.tensorrt.request import BuildRequest
from segship.optimize.tensorrt.shapes import is_static, refuse_misfits, shape_ranges
from segship.runtimes.session import TensorInfo
from segship.runtimes.tensorrt.sidecar import ShapeRange
from segship.tests.optimize.quantize_graphs import graph_of

FREE = TensorInfo("pixels", "float32", ("batch", 3, "height", "width"))
STATIC = TensorInfo("pixels", "float32", (1, 3, 512, 1024))
OWN = (512, 512)


def ranges(image: TensorInfo = FREE, **options: Any) -> tuple[ShapeRange, ...]:
    return shape_ranges(image, BuildRequest(**options), OWN)


def refused(image: TensorInfo = FREE, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        ranges(image, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_free_graph_is_built_for_one_image_of_its_own_size_unless_asked() -> None:
    shape = (1, 3, 512, 512)
    assert ranges() == (ShapeRange(shape, shape, shape),)


def test_three_values_are_smallest_tuned_for_and_largest() -> None:
    sizes = ((512, 512), (512, 1024), (1024, 1024))
    (found,) = ranges(batches=(1, 4, 8), sizes_px=sizes)
    assert found.minimum == (1, 3, 512, 512)
    assert found.optimum == (4, 3, 512, 1024)
    assert found.maximum == (8, 3, 1024, 1024)


def test_two_values_are_tuned_for_the_larger() -> None:
    (found,) = ranges(batches=(1, 8), sizes_px=((256, 512), (512, 512)))
    assert found == ShapeRange((1, 3, 256, 512), (8, 3, 512, 512), (8, 3, 512, 512))


def test_every_size_gets_a_profile_of_its_own_where_asked() -> None:
    sizes = ((1024, 512), (512, 1024), (64, 64), (96, 96))  # neither rising nor three
    found = ranges(batches=(1, 2), sizes_px=sizes, per_size=True)
    assert [item.maximum[2:] for item in found] == list(sizes)
    assert all(item.minimum[2:] == item.maximum[2:] for item in found)
    assert {item.maximum[0] for item in found} == {2}


def test_sizes_that_do_not_rise_are_refused() -> None:
    text = refused(sizes_px=((512, 1024), (1024, 512)))
    assert "rising widths" in text and "--per-size" in text
    assert "rising batches" in refused(batches=(8, 1))


def test_a_static_graph_needs_no_options_and_takes_its_own() -> None:
    shape = (1, 3, 512, 1024)
    assert is_static(STATIC) and not is_static(FREE)
    own = (ShapeRange(shape, shape, shape),)
    assert ranges(STATIC) == own == ranges(STATIC, batches=(1,), sizes_px=((512, 1024),))


def test_a_static_graph_refuses_other_sizes_and_batches() -> None:
    assert "the size of the graph (512x1024), but got 512x512" in refused(
        STATIC, sizes_px=((512, 512),)
    )
    assert "the batch of the graph (1, fixed), but got 4" in refused(STATIC, batches=(4,))
    assert "the batch of the graph (1, fixed), but got 1,4" in refused(STATIC, batches=(1, 4))


def test_one_free_side_is_free_alone() -> None:
    image = TensorInfo("pixels", "float32", (1, 3, 512, "width"))
    (found,) = ranges(image, sizes_px=((512, 256), (512, 512)))
    assert found.minimum == (1, 3, 512, 256)
    assert "(512xfree), but got 256x256" in refused(image, sizes_px=((256, 256),))


def test_a_size_below_the_deepest_stage_is_refused() -> None:
    assert "at least 32 pixels" in refused(sizes_px=((16, 512),))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batches": (1, 2, 3, 4)}, "one to three batches"),
        ({"sizes_px": ((64, 64),) * 4}, "--per-size gives each"),
        ({"per_size": True}, "Expected --sizes with --per-size"),
        ({"batches": (0,)}, "batches of 1 or more"),
        ({"level": 6}, "a level of 0 to 5"),
        ({"workspace_mib": 0}, "at least 1 MiB"),
        ({"repeat": 0}, "at least 1 build"),
        ({"hardware": "turing"}, "a hardware compatibility"),
        ({"profile": "tensorrt9"}, "a profile of auto"),
        ({"dla_core": -1}, "a DLA core"),
    ],
)
def test_a_request_no_builder_can_follow_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        BuildRequest(**options)


def skipping(stride: int) -> onnx.ModelProto:
    """x and x pooled and un-pooled are added: only multiples of `stride` fit."""
    nodes = [
        helper.make_node(
            "MaxPool", ["x"], ["low"], kernel_shape=[stride] * 2, strides=[stride] * 2
        ),
        helper.make_node("Resize", ["low", "", "scales"], ["high"], mode="nearest"),
        helper.make_node("Add", ["x", "high"], ["out"]),
    ]
    scales = np.array([1, 1, stride, stride], np.float32)
    return graph_of(nodes, {"scales": scales}, ("batch", 3, "height", "width"))


def misfit(model: onnx.ModelProto, size_px: tuple[int, int]) -> None:
    image = TensorInfo("x", "float32", ("batch", 3, "height", "width"))
    refuse_misfits(model, image, shape_ranges(image, BuildRequest(sizes_px=(size_px,)), OWN))


def test_a_size_the_graph_contradicts_is_refused_with_one_that_fits() -> None:
    model = skipping(32)
    misfit(model, (64, 96))
    with pytest.raises(InputError) as caught:
        misfit(model, (65, 96))
    assert "at 65x96" in str(caught.value) and "96x96 fits" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_model_is_not_changed_by_the_question() -> None:
    model = skipping(32)
    before = model.SerializeToString()
    misfit(model, (64, 64))
    assert model.SerializeToString() == before


def test_shapes_written_in_the_file_for_another_size_do_not_count() -> None:
    """Some exporters keep the sizes of the picture they traced with."""
    model = skipping(32)
    traced = {"low": (1, 3, 2, 2), "out": (1, 3, 64, 64)}
    for item in (*model.graph.value_info, *model.graph.output):
        if item.name in traced:
            for dim, side in zip(item.type.tensor_type.shape.dim, traced[item.name], strict=True):
                dim.dim_value = side
    misfit(model, (96, 96))
