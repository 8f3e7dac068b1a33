"""What the probes report is what the graph computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segship.calibration.collect import collect_ranges
from segship.calibration.probe_session import fractions
from segship.calibration.ranges import Ranges
from segship.common.errors import InputError

Graph = Callable[..., Path]
Images = list[NDArray[np.float32]]


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("sample", [0, 50, 65536])
def test_extremes_and_counts_are_exact(
    small_graph: Graph, some_images: Images, dynamic: bool, sample: int
) -> None:
    path = small_graph(dynamic=dynamic)
    ranges = collect_ranges(path, None, some_images, method="minmax", sample=sample)
    doubled = 2 * np.concatenate(some_images)
    wanted: dict[str, NDArray[Any]] = {
        "pixels": doubled / 2,
        "doubled": doubled,
        "turned": doubled,
    }
    wanted["kept"] = np.maximum(doubled, 0)
    assert set(ranges.tensors) == {*wanted, "mean", "out"}  # no constants, no shapes
    for name, values in wanted.items():
        found = ranges.tensors[name]
        assert (found.minimum, found.maximum) == (values.min(), values.max())
        assert (found.low, found.high) == (-found.peak, found.peak)
        assert (found.count, found.clipped) == (values.size, 0)
    assert ranges.images == 5 and ranges.sample == sample


def test_images_of_several_sizes_go_through_a_graph_of_free_size(small_graph: Graph) -> None:
    images = [np.full((1, 3, side, side + 3), side, np.float32) for side in (4, 9, 30)]
    ranges = collect_ranges(small_graph(dynamic=True), ["doubled"], images, sample=64)
    found = ranges.tensors["doubled"]
    assert (found.minimum, found.maximum) == (8, 60)
    assert found.count == sum(image.size for image in images)


def test_memory_only_divides_the_work(tiny_onnx: Path) -> None:
    random = np.random.default_rng(0)
    images = [random.normal(size=(1, 3, 64, 96)).astype(np.float32) for _ in range(3)]
    whole = collect_ranges(tiny_onnx, None, images, sample=0)
    parts = collect_ranges(tiny_onnx, None, images, sample=0, memory_mib=1)
    assert len(whole.tensors) > 100 and whole.tensors.keys() == parts.tensors.keys()
    for name, found in whole.tensors.items():
        # another copy of the graph may fuse other operators: float32 rounding of a few layers
        assert parts.tensors[name].maximum == pytest.approx(found.maximum, rel=1e-4, abs=1e-5)


def test_the_order_of_images_changes_nothing(small_graph: Graph, some_images: Images) -> None:
    path = small_graph()
    for method in ("entropy", "mse", "percentile"):
        there = collect_ranges(path, None, some_images, method=method, sample=40)
        back = collect_ranges(path, None, some_images[::-1], method=method, sample=40)
        assert there == back  # the sample depends on the image alone, the bins on the values


def test_a_sample_moves_a_range_by_little(tiny_onnx: Path) -> None:
    random = np.random.default_rng(1)
    images = [random.normal(size=(1, 3, 64, 96)).astype(np.float32) for _ in range(8)]
    every = collect_ranges(tiny_onnx, None, images, method="mse", sample=0)
    some = collect_ranges(tiny_onnx, None, images, method="mse", sample=2048)
    ratios = [some.tensors[name].high / found.high for name, found in every.tensors.items()]
    gains = [some.tensors[name].sqnr_db - found.sqnr_db for name, found in every.tensors.items()]
    assert any(ratio != 1 for ratio in ratios)  # the largest tensors are sampled here
    # the error is flat around its least: up to three candidates, 4.4 % each, at hardly any price
    assert np.median(ratios) == 1 and np.max(np.abs(np.log2(ratios))) <= 3.01 / 16
    assert (
        np.median(np.abs(gains)) < 0.2
    )  # dB, as measured on the sample; tails make single ones worse


def test_places_cover_every_part_and_stay_inside() -> None:
    places = fractions(b"\xff" * 32, 1000)
    assert np.array_equal(np.floor(places * 1000), np.arange(1000))
    for size in (1, 3, 4097, 10**9 - 1):
        assert (places * size).astype(np.int64).max() < size
    assert not np.array_equal(places, fractions(b"\x01" * 32, 1000))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_activation_that_is_no_number_is_named(
    small_graph: Graph, some_images: Images, bad: float
) -> None:
    some_images[2][0, 1, 3, 3] = bad
    for sample in (0, 10):
        with pytest.raises(InputError, match="activations, but pixels .* on image 3 of the"):
            collect_ranges(small_graph(), None, some_images, sample=sample)
    with pytest.raises(InputError, match="activations, but kept "):
        collect_ranges(small_graph(), ["kept"], some_images)


def test_values_beyond_a_sum_of_squares_are_no_error(small_graph: Graph) -> None:
    images = [np.full((1, 3, 8, 8), 1e30, np.float32)]
    ranges = collect_ranges(small_graph(), ["doubled"], images)
    assert ranges.tensors["doubled"].maximum == np.float32(2e30)


def test_wrong_requests_are_refused(
    small_graph: Graph, some_images: Images, tmp_path: Path
) -> None:
    from onnx import helper

    path = small_graph()
    with pytest.raises(InputError, match="'dubled': did you mean 'doubled'"):
        collect_ranges(path, ["dubled"], some_images)
    with pytest.raises(InputError, match="activation of the graph, but got 'constant'"):
        collect_ranges(path, ["constant"], some_images)
    with pytest.raises(InputError, match="got none"):
        collect_ranges(path, None, [])
    with pytest.raises(InputError, match="a method of minmax"):
        collect_ranges(path, None, some_images, method="best")
    with pytest.raises(InputError, match="memory_mib"):
        collect_ranges(path, None, some_images, memory_mib=0)
    with pytest.raises(InputError, match="images the graph takes"):
        collect_ranges(path, None, [np.zeros((1, 3, 4, 4), np.float32)])
    with pytest.raises(InputError, match="images the graph takes"):
        collect_ranges(path, None, [np.zeros((1, 3, 8, 8), np.uint8)])
    extra = helper.make_node("DynamicQuantizeLinear", ["doubled"], ["q", "s", "z"], name="dq0")
    with pytest.raises(InputError, match="quantized already .1 nodes, 'dq0' first"):
        collect_ranges(small_graph(extra=(extra,)), None, some_images)
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(InputError, match="ONNX"):
        collect_ranges(tmp_path / "text.onnx", None, some_images)


def test_ranges_survive_json(small_graph: Graph) -> None:
    ranges = collect_ranges(small_graph(), None, [np.zeros((1, 3, 8, 8), np.float32)])
    assert ranges.tensors["pixels"].sqnr_db == float("inf")
    assert (ranges.tensors["pixels"].low, ranges.tensors["pixels"].high) == (-1, 1)
    assert Ranges.from_json(ranges.to_json()) == ranges
    values = ranges.to_json()
    del values["tensors"]["out"]["clipped"]
    with pytest.raises(InputError, match="calibrate again"):
        Ranges.from_json(values)
