"""Kept ranges come back for the same calibration, and for no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segship.calibration.cache import CacheKey, cache_key, cached_ranges, load_ranges, store_ranges
from segship.calibration.collect import collect_ranges
from segship.calibration.ranges import Ranges
from segship.common.errors import InputError
from segship.data.contract import Contract, Resample

Graph = Callable[..., Path]


@pytest.fixture
def kept(
    small_graph: Graph, some_images: list[NDArray[np.float32]], tmp_path: Path
) -> tuple[Path, CacheKey, Ranges]:
    """A file of ranges with its key."""
    graph = small_graph()
    ranges = collect_ranges(graph, None, some_images)
    key = cache_key(graph, ranges.digest, Contract())
    store_ranges(tmp_path / "ranges.json", ranges, key)
    return tmp_path / "ranges.json", key, ranges


def test_ranges_come_back_equal(kept: tuple[Path, CacheKey, Ranges]) -> None:
    path, key, ranges = kept
    assert load_ranges(path, key, tensors=("kept", "out")) == ranges


@pytest.mark.parametrize("part", ["graph", "images", "preprocessing", "method", "version"])
def test_a_stale_file_is_refused_with_the_part_that_changed(
    kept: tuple[Path, CacheKey, Ranges], part: str
) -> None:
    path, key, _ = kept
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"stale \\({part} was [^;]*\\): remove it"):
        load_ranges(path, replace(key, **{part: "other"}))
    with pytest.raises(InputError, match="stale"):
        cached_ranges(path, replace(key, **{part: "other"}), lambda: pytest.fail("collected"))
    assert path.read_bytes() == before


def test_the_key_follows_what_changes_the_ranges(small_graph: Graph) -> None:
    import onnx

    graph, contract = small_graph(), Contract()
    key = cache_key(graph, "images", contract)
    assert cache_key(graph, "images", replace(contract, classes=("a", "b"))) == key
    other = replace(contract, resample=Resample.NEAREST)
    assert cache_key(graph, "images", other).preprocessing != key.preprocessing
    assert cache_key(graph, "images", contract, symmetric=False).method != key.method
    assert cache_key(graph, "images", contract, percentile=99.0) == key  # entropy reads it not
    by_share = cache_key(graph, "images", contract, method="percentile", percentile=99.0)
    assert by_share.method.startswith("percentile 99, symmetric")
    model = onnx.load(str(graph))
    onnx.helper.set_model_props(model, {"segship.contract": "{}"})
    onnx.save(model, str(graph))
    assert cache_key(graph, "images", contract) == key  # metadata computes nothing
    model.graph.node[0].attribute[0].f = 3.0
    onnx.save(model, str(graph))
    assert cache_key(graph, "images", contract).graph != key.graph


def test_damage_is_refused(kept: tuple[Path, CacheKey, Ranges]) -> None:
    path, key, _ = kept
    whole = path.read_text()
    content = json.loads(whole)
    content["ranges"]["tensors"]["kept"]["high"] *= 2
    for text in (whole[:-100], json.dumps(content), "[]", "{}", "", '{"key": 1}'):
        path.write_text(text)
        with pytest.raises(InputError, match="damaged or another file: remove it"):
            load_ranges(path, key)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="damaged"):
        load_ranges(path, key)


def test_a_missing_tensor_and_a_missing_file_are_refused(
    kept: tuple[Path, CacheKey, Ranges], tmp_path: Path
) -> None:
    path, key, ranges = kept
    with pytest.raises(InputError, match="the range of 'new'"):
        load_ranges(path, key, tensors=("new",))
    with pytest.raises(InputError, match="Cannot read"):
        load_ranges(tmp_path / "none.json", key)
    assert cached_ranges(path, key, lambda: pytest.fail("collected")) == ranges
    fresh = tmp_path / "fresh.json"
    assert cached_ranges(fresh, key, lambda: ranges) == ranges and fresh.exists()
    assert cached_ranges(None, key, lambda: ranges) == ranges
