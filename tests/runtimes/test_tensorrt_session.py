"""The TensorRT session gives ONNX Runtime's numbers, over a fake CUDA and a fake TensorRT.

Fake are the GPU and the engine's arithmetic (ONNX Runtime on the bound memory). Real are the ctypes
calls, the order of the work on the stream, graphs, buffers, and everything that is checked. The
module's names are those recorded from the real ones.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from segship.data.contract import InputKind, OutputKind
from segship.optimize.export import export
from segship.runtimes.artifact import CONTRACT_KEY
from segship.runtimes.cuda.buffers import PinnedArray
from segship.runtimes.cuda.library import TO_HOST
from segship.runtimes.cuda.nvml import GpuState
from segship.runtimes.onnxruntime_session import OnnxRuntimeSession
from segship.runtimes.open import load_artifact
from segship.runtimes.tensorrt import session as session_module
from segship.tests.runtimes.fake_engine import FakeGpu
from segship.tests.runtimes.fake_tensorrt_strict import recorded_versions

RANGE = ((1, 3, 32, 32), (1, 3, 64, 96), (3, 3, 128, 160))
MakeGpu = Callable[..., FakeGpu]


@pytest.fixture
def make_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeGpu]:
    """FakeGpu(version, …); a session that leaves anything alive on it fails."""
    monkeypatch.setattr(session_module, "read_gpu_state", lambda _: GpuState())
    made: list[FakeGpu] = []

    def make(version: str = "10.3.0", **situation: Any) -> FakeGpu:
        made.append(FakeGpu(version, **situation))
        return made[-1]

    yield make
    gc.collect()
    assert [gpu.machine.live() for gpu in made] == [0] * len(made)


def _pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _expected(path: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    with OnnxRuntimeSession(load_artifact(path), "fp32", 1) as session:
        return session.run(pixels)


@pytest.mark.parametrize("version", recorded_versions())
def test_every_version_gives_the_models_numbers(
    version: str, static_onnx: Path, make_gpu: MakeGpu
) -> None:
    gpu = make_gpu(version)
    artifact = gpu.engine(static_onnx)
    with gpu.open(artifact) as session:
        assert (session.runtime, session.precision, session.threads) == ("tensorrt", "fp32", 1)
        assert session.input.shape == (1, 3, 64, 96) and session.notes == ()
        for seed in range(3):  # plain, captured, launched again
            pixels = _pixels(1, 3, 64, 96) + seed
            found = session.run(pixels)
            assert list(found) == ["segmentation"]
            expected = _expected(static_onnx, pixels)
            np.testing.assert_array_equal(found["segmentation"], expected["segmentation"])
        assert session.device_memory_mib() == {
            "engine": 0.0,
            "activations": 1.0,
            "buffers": pytest.approx(4 * (3 * 64 * 96 + 9 * 16 * 24) / 2**20),
        }


def test_sizes_and_batches_within_the_profile(dynamic_onnx: Path, make_gpu: MakeGpu) -> None:
    gpu = make_gpu()
    with gpu.open(gpu.engine(dynamic_onnx, (RANGE,))) as session:
        shapes = [(1, 3, 64, 96), (2, 3, 64, 96), (2, 3, 64, 96), (2, 3, 64, 96)]
        shapes += [(1, 3, 128, 160), (1, 3, 32, 32), (1, 3, 32, 32), (3, 3, 96, 64)]
        for shape in shapes:
            pixels = _pixels(*shape)
            found = session.run(pixels)["segmentation"]
            expected = _expected(dynamic_onnx, pixels)["segmentation"]
            assert found.shape == expected.shape == (shape[0], 9, shape[2] // 4, shape[3] // 4)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)  # another thread split


def test_the_profile_that_holds_the_shape_is_taken(dynamic_onnx: Path, make_gpu: MakeGpu) -> None:
    gpu = make_gpu()
    small, large = ((1, 3, 64, 96),) * 3, ((1, 3, 128, 160), (2, 3, 128, 160), (2, 3, 128, 160))
    with gpu.open(gpu.engine(dynamic_onnx, (small, large))) as session:
        for shape, profile in (((2, 3, 128, 160), 1), ((1, 3, 64, 96), 0), ((1, 3, 128, 160), 1)):
            pixels = _pixels(*shape)
            found = session.run(pixels)["segmentation"]
            assert session._engine._context.active_optimization_profile == profile
            np.testing.assert_allclose(
                found, _expected(dynamic_onnx, pixels)["segmentation"], rtol=0, atol=1e-5
            )


def test_raw_pixels_in_and_labels_out(
    tiny_checkpoint: Path, tmp_path: Path, make_gpu: MakeGpu
) -> None:
    path = tmp_path / "raw.onnx"
    export(tiny_checkpoint, path, input_kind=InputKind.UINT8, output_kind=OutputKind.LABELS)
    gpu = make_gpu()
    with gpu.open(gpu.engine(path)) as session:
        pixels = np.random.default_rng(3).integers(0, 256, (1, 3, 64, 96), np.uint8)
        found = session.run(pixels)["segmentation"]
        assert found.dtype.name == session.outputs[0].dtype == "uint8"
        assert len(np.unique(found)) > 1
        np.testing.assert_array_equal(found, _expected(path, pixels)["segmentation"])


def test_float16_comes_out_as_float16(static_onnx: Path, tmp_path: Path, make_gpu: MakeGpu) -> None:
    """An engine with FP16 outputs: its graph ends in a cast."""
    path = _with_cast(static_onnx, tmp_path / "half.onnx")
    gpu = make_gpu("11.4.0.106")
    with gpu.open(gpu.engine(path)) as session:
        pixels = _pixels(1, 3, 64, 96)
        found = session.run(pixels)["segmentation"]
        assert found.dtype.name == session.outputs[0].dtype == "float16"
        np.testing.assert_array_equal(found, _expected(path, pixels)["segmentation"])


def _with_cast(source: Path, target: Path) -> Path:
    model = onnx.load(source)
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["wide" if name == output.name else name for name in node.output]
    half = onnx.TensorProto.FLOAT16
    model.graph.node.append(onnx.helper.make_node("Cast", ["wide"], [output.name], to=half))
    output.type.tensor_type.elem_type = half
    onnx.save(model, target)
    return target


def test_two_heads_under_their_names(static_onnx: Path, tmp_path: Path, make_gpu: MakeGpu) -> None:
    """The engine lists them in another order than the contract."""
    model = onnx.load(static_onnx)
    model.graph.node.append(onnx.helper.make_node("Neg", ["segmentation"], ["depth"]))
    depth = onnx.ValueInfoProto()
    depth.CopyFrom(model.graph.output[0])
    depth.name = "depth"
    model.graph.output.insert(0, depth)
    contract = replace(load_artifact(static_onnx).contract, heads=("segmentation", "depth"))
    onnx.helper.set_model_props(model, {CONTRACT_KEY: contract.to_json()})
    onnx.save(model, tmp_path / "two.onnx")
    gpu = make_gpu()
    with gpu.open(gpu.engine(tmp_path / "two.onnx")) as session:
        found = session.run(_pixels(1, 3, 64, 96))
        assert list(found) == [head.name for head in session.outputs] == ["segmentation", "depth"]
        np.testing.assert_array_equal(found["segmentation"], -found["depth"])
        assert found["segmentation"].any()


def test_device_times_are_apart_and_of_the_last_run(static_onnx: Path, make_gpu: MakeGpu) -> None:
    gpu = make_gpu()
    with gpu.open(gpu.engine(static_onnx)) as session:
        assert session.device_times_ms() is None
        session.run(_pixels(1, 3, 64, 96))
        times = session.device_times_ms()
        assert times is not None and list(times) == ["h2d", "compute", "d2h"]
        # the fake computes milliseconds with ONNX Runtime and copies kilobytes
        assert times["compute"] > times["h2d"] >= 0 and times["compute"] > times["d2h"] >= 0


def test_memory_of_the_process_is_told_where_the_driver_tells(
    static_onnx: Path, make_gpu: MakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = make_gpu()
    asked: list[str] = []

    def state(bus: str) -> GpuState:
        asked.append(bus)
        return GpuState(process_mib=77.0)

    monkeypatch.setattr(session_module, "read_gpu_state", state)
    with gpu.open(gpu.engine(static_onnx)) as session:
        memory = session.device_memory_mib()
    assert memory is not None and memory["process"] == 77.0 and asked == ["0000:65:00.0"]


def test_outputs_may_stay_on_the_device(static_onnx: Path, make_gpu: MakeGpu) -> None:
    gpu = make_gpu()
    with gpu.open(gpu.engine(static_onnx)) as session:
        pixels = _pixels(1, 3, 64, 96)
        (left,) = session.run_on_device(pixels).values()
        assert (left.shape, left.dtype) == ((1, 9, 16, 24), "float32")
        assert gpu.machine.is_device(left.address, left.size_bytes)
        session.finish()
        got = np.frombuffer(ctypes.string_at(left.address, left.size_bytes), np.float32)
        expected = _expected(static_onnx, pixels)["segmentation"]
        np.testing.assert_array_equal(got.reshape(left.shape), expected)
        assert session.device_times_ms() is not None


def test_a_run_nobody_finished_is_over_before_the_next(
    static_onnx: Path, make_gpu: MakeGpu
) -> None:
    gpu = make_gpu()
    with gpu.open(gpu.engine(static_onnx)) as session:
        first = _pixels(1, 3, 64, 96)
        found, pinned = [], PinnedArray(gpu.machine.cuda())
        kept = pinned.view((1, 9, 16, 24), "float32")
        for pixels in (first, first + 1):
            (left,) = session.run_on_device(pixels).values()
            found.append(session.device_times_ms())
            if pixels is first:  # what a user queues behind it, who never calls `finish`
                copy = (pinned.address, left.address, kept.nbytes, TO_HOST, session.stream)
                session._cuda.copy_async(*copy)
        session.finish()
    np.testing.assert_array_equal(kept, _expected(static_onnx, first)["segmentation"])
    assert found == [None, None]  # events of a run under way are not yet a time


def test_an_array_may_be_kept_after_the_session(static_onnx: Path, make_gpu: MakeGpu) -> None:
    gpu = make_gpu()
    with gpu.open(gpu.engine(static_onnx)) as session:
        pixels = _pixels(1, 3, 64, 96)
        found = session.run(pixels)["segmentation"]
    np.testing.assert_array_equal(found, _expected(static_onnx, pixels)["segmentation"])
    session.close()
