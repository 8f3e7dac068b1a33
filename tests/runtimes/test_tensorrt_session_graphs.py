"""When a run becomes a CUDA graph, when the graph is dropped, and what happens without one."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from segship.runtimes.onnxruntime_session import OnnxRuntimeSession
from segship.runtimes.open import load_artifact
from segship.tests.runtimes.fake_engine import FakeGpu


@pytest.fixture
def gpu() -> Iterator[FakeGpu]:
    """A fake GPU; a session that leaves anything alive on it fails."""
    made = FakeGpu()
    yield made
    gc.collect()
    assert made.machine.live() == 0


def _pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _expected(path: Path, pixels: np.ndarray) -> np.ndarray:
    with OnnxRuntimeSession(load_artifact(path), "fp32", 1) as session:
        return session.run(pixels)["segmentation"]


def test_the_engine_is_queued_twice_and_its_graph_from_then_on(
    static_onnx: Path, gpu: FakeGpu
) -> None:
    with gpu.open(gpu.engine(static_onnx)) as session:
        queued = []
        for seed in range(4):
            pixels = _pixels(1, 3, 64, 96, seed=seed)
            found = session.run(pixels)["segmentation"]
            np.testing.assert_array_equal(found, _expected(static_onnx, pixels))
            queued.append(gpu.queued)
        assert queued == [1, 2, 2, 2] and session._replay.recorded
        assert session.notes == ()


def test_no_graph_where_none_is_wanted(static_onnx: Path, gpu: FakeGpu) -> None:
    with gpu.open(gpu.engine(static_onnx), graph=False) as session:
        for _ in range(3):
            session.run(_pixels(1, 3, 64, 96))
        assert gpu.queued == 3 and not session._replay.recorded and session.notes == ()


def test_another_shape_drops_the_graph(dynamic_onnx: Path, gpu: FakeGpu) -> None:
    """It holds addresses and shapes; the smaller shape keeps the buffers, the larger does not."""
    ranges = (((1, 3, 32, 32), (1, 3, 64, 96), (2, 3, 128, 160)),)
    sides = [(64, 96)] * 3 + [(32, 32)] * 3 + [(128, 160)] * 3 + [(64, 96)] * 2
    with gpu.open(gpu.engine(dynamic_onnx, ranges)) as session:
        recorded = []
        for seed, side in enumerate(sides):
            pixels = _pixels(1, 3, *side, seed=seed)
            found = session.run(pixels)["segmentation"]
            recorded.append(session._replay.recorded)
            np.testing.assert_allclose(
                found, _expected(dynamic_onnx, pixels), rtol=0, atol=1e-5
            )  # ONNX Runtime splits the work otherwise where it knows the shape
        assert recorded == [False, True, True] * 3 + [False, True]


@pytest.mark.parametrize(
    "function",
    ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiateWithFlags"],
)
def test_without_a_graph_it_runs_on_and_says_so(
    function: str, static_onnx: Path, gpu: FakeGpu
) -> None:
    with gpu.open(gpu.engine(static_onnx)) as session:
        for seed in range(4):
            if seed == 1:
                gpu.machine.fail(function, code=900)
            pixels = _pixels(1, 3, 64, 96, seed=seed)
            found = session.run(pixels)["segmentation"]
            np.testing.assert_array_equal(found, _expected(static_onnx, pixels))
        (note,) = session.notes
        assert note.startswith("Runs without a CUDA graph:") and function in note


def test_an_engine_that_cannot_be_captured_runs_plainly(static_onnx: Path, gpu: FakeGpu) -> None:
    """Some layers wait for the device; CUDA forbids that in a capture and ends it."""
    context = gpu.trt.IExecutionContext
    plain = context.execute_async_v3
    runs: list[int] = []

    def waits(of: object, stream: int) -> bool:
        runs.append(stream)
        return plain(of, stream) and len(runs) != 2

    context.execute_async_v3 = waits
    with gpu.open(gpu.engine(static_onnx)) as session:
        for seed in range(3):
            pixels = _pixels(1, 3, 64, 96, seed=seed)
            found = session.run(pixels)["segmentation"]
            np.testing.assert_array_equal(found, _expected(static_onnx, pixels))
        assert len(runs) == 4 and not session._replay.recorded
        assert "Runs without a CUDA graph: Expected TensorRT 10.3.0 to run" in session.notes[0]
