"""What the TensorRT session refuses, in one line, and that nothing stays on the device."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segship.common.errors import CheckFailedError, InputError
from segship.runtimes.session import TensorInfo
from segship.tests.runtimes.fake_engine import FakeGpu

MakeGpu = Callable[..., FakeGpu]
IMAGE = TensorInfo("pixels", "float32", (1, 3, 64, 96))


@pytest.fixture
def make_gpu() -> Iterator[MakeGpu]:
    """FakeGpu(version, …); a session that leaves anything alive on it fails."""
    made: list[FakeGpu] = []

    def make(version: str = "10.3.0", **situation: Any) -> FakeGpu:
        made.append(FakeGpu(version, **situation))
        return made[-1]

    yield make
    gc.collect()
    assert [gpu.machine.live() for gpu in made] == [0] * len(made)


def _pixels(*shape: int, fill: float = 0.5) -> np.ndarray:
    return np.full(shape, fill, np.float32)


def _head(dtype: str = "float32", name: str = "segmentation", rows: int | str = 16) -> Any:
    return {"outputs": (TensorInfo(name, dtype, (1, 9, rows, 24)),)}


def _image(dtype: str = "float32", name: str = "pixels", width: int | str = 96) -> Any:
    return {"inputs": (TensorInfo(name, dtype, (1, 3, 64, width)),)}


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        # memory for float16 under an engine that writes float32: the logits "between ±512"
        (_head("float16"), r"segmentation float16.* but the engine has segmentation float32"),
        (_head(name="labels"), r"outputs labels .* but the engine has segmentation"),
        (_head(rows=32), r"\[1, 9, 32, 24\].* but the engine has .*\[1, 9, 16, 24\]"),
        (_head(rows="rows"), r"\[1, 9, 'rows', 24\].* but the engine has"),
        (_image("uint8"), r"input pixels uint8.* but the engine has pixels float32"),
        (_image(width="width"), r"'width'.* but the engine has"),
    ],
    ids=["±512", "name", "rows", "free", "input dtype", "free input"],
)
def test_an_engine_is_not_what_its_sidecar_says(
    lie: Any, words: str, static_onnx: Path, make_gpu: MakeGpu
) -> None:
    gpu = make_gpu()
    with pytest.raises(InputError, match=words):
        gpu.open(gpu.engine(static_onnx, **lie))


def test_the_sidecar_is_right_and_the_engine_writes_float16(
    static_onnx: Path, make_gpu: MakeGpu
) -> None:
    gpu = make_gpu(io_types={"segmentation": "HALF"})
    with pytest.raises(InputError, match="float32.* but the engine has segmentation float16"):
        gpu.open(gpu.engine(static_onnx))


def test_a_type_numpy_has_not_is_refused(static_onnx: Path, make_gpu: MakeGpu) -> None:
    gpu = make_gpu(io_types={"segmentation": "BF16"})
    with pytest.raises(InputError, match="'segmentation' of .* is BF16"):
        gpu.open(gpu.engine(static_onnx))


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ({"sm": "9.0", "gpu": "NVIDIA Other"}, r"SM 8\.7.* built on NVIDIA Other"),
        ({"tensorrt": "10.9.0"}, r"TensorRT 10\.3\.0.* built with 10\.9\.0"),
        ({"engine_bytes": 10_000_000}, "cut off"),
        ({"engine_sha256": "0" * 64}, "hashed"),
        ({"inputs": (IMAGE, IMAGE)}, "takes 2 tensors"),
    ],
    ids=["gpu", "version", "truncated", "hash", "inputs"],
)
def test_checked_before_anything_is_deserialized(
    lie: Any, words: str, static_onnx: Path, make_gpu: MakeGpu
) -> None:
    gpu = make_gpu()
    artifact = gpu.engine(static_onnx, **lie)
    gpu.trt.Runtime.deserialize_cuda_engine = None
    with pytest.raises(InputError, match=words):
        gpu.open(artifact)


def test_another_gpu_of_the_same_sm_is_noted(static_onnx: Path, make_gpu: MakeGpu) -> None:
    gpu = make_gpu()
    with gpu.open(gpu.engine(static_onnx, gpu="NVIDIA Twin")) as session:
        assert len(session.notes) == 1 and "NVIDIA Twin" in session.notes[0]


def test_a_version_compatible_engine_runs_on_a_later_release(
    static_onnx: Path, make_gpu: MakeGpu
) -> None:
    older, newer = make_gpu("10.3.0"), make_gpu("10.13.3.9")
    flags = ("VERSION_COMPATIBLE",)
    artifact = older.engine(static_onnx, flags=flags, version_compatible=True)
    with newer.open(artifact) as session:
        session.run(_pixels(1, 3, 64, 96))
        assert "10.3.0" in session.notes[0]


def test_a_plan_tensorrt_refuses_names_its_reason(static_onnx: Path, make_gpu: MakeGpu) -> None:
    """The sidecar of a lying tool: every byte is as it says, and yet no engine."""
    gpu = make_gpu()
    artifact = gpu.engine(static_onnx)
    gpu.trt.Runtime.deserialize_cuda_engine = lambda self, _: self._logger.log(
        gpu.trt.ILogger.Severity.ERROR, "magicTag\ndoes not match"
    )
    with pytest.raises(CheckFailedError, match=r"10\.3\.0 to open .* magicTag does not match"):
        gpu.open(artifact)


def test_no_memory_for_the_context(static_onnx: Path, make_gpu: MakeGpu) -> None:
    gpu = make_gpu(context_fails=True)
    with pytest.raises(CheckFailedError, match="1 MiB of GPU memory between .*out of memory"):
        gpu.open(gpu.engine(static_onnx))


def test_a_shape_outside_every_profile_is_refused_with_the_range(
    dynamic_onnx: Path, make_gpu: MakeGpu
) -> None:
    gpu = make_gpu()
    ranges = (((1, 3, 64, 96), (1, 3, 64, 96), (2, 3, 128, 160)),)
    with gpu.open(gpu.engine(dynamic_onnx, ranges)) as session:
        for shape in ((3, 3, 64, 96), (1, 3, 32, 96), (1, 3, 64, 192)):
            with pytest.raises(
                InputError, match=r"\[1, 3, 64, 96\] to \[2, 3, 128, 160\], but got"
            ):
                session.run(_pixels(*shape))
        assert session.run(_pixels(1, 3, 64, 96))["segmentation"].shape == (1, 9, 16, 24)


def test_pixels_of_another_type_or_rank_are_refused(static_onnx: Path, make_gpu: MakeGpu) -> None:
    gpu = make_gpu()
    with gpu.open(gpu.engine(static_onnx)) as session:
        for pixels in (np.zeros((1, 3, 64, 96), np.float16), np.zeros((3, 64, 96), np.float32)):
            for run in (session.run, session.run_on_device):
                with pytest.raises(InputError, match="Expected input 'pixels'"):
                    run(pixels)


def test_out_of_memory_names_the_size_and_the_session_lives_on(
    dynamic_onnx: Path, make_gpu: MakeGpu
) -> None:
    gpu = make_gpu()
    ranges = (((1, 3, 64, 96), (1, 3, 64, 96), (4, 3, 256, 256)),)
    with gpu.open(gpu.engine(dynamic_onnx, ranges)) as session:
        first = session.run(_pixels(1, 3, 64, 96))["segmentation"].copy()
        gpu.machine.machine(memory=2 << 20)
        with pytest.raises(InputError, match=r"3\.0 MiB of GPU memory"):
            session.run(_pixels(4, 3, 256, 256))
        again = session.run(_pixels(1, 3, 64, 96))["segmentation"]
        np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    ("function", "nth"),
    [
        ("cudaStreamCreateWithFlags", 1),
        ("cudaEventCreateWithFlags", 1),
        ("cudaEventCreateWithFlags", 4),
        ("cudaMemGetInfo", 2),
        ("cudaDeviceGetAttribute", 1),
    ],
)
def test_a_failed_open_leaves_nothing(
    function: str, nth: int, static_onnx: Path, make_gpu: MakeGpu
) -> None:
    gpu = make_gpu()
    artifact = gpu.engine(static_onnx)
    gpu.machine.fail(function, nth, 999)
    with pytest.raises(CheckFailedError, match=function):
        gpu.open(artifact)
    gc.collect()
    assert gpu.machine.live() == 0


@pytest.mark.parametrize(
    ("function", "nth"),
    [("cudaMalloc", 2), ("cudaHostAlloc", 1), ("cudaMemcpyAsync", 2), ("cudaEventRecord", 3)],
)
def test_a_failed_run_leaves_nothing(
    function: str, nth: int, static_onnx: Path, make_gpu: MakeGpu
) -> None:
    gpu = make_gpu()
    session = gpu.open(gpu.engine(static_onnx))
    gpu.machine.fail(function, nth, 700)
    with pytest.raises(CheckFailedError, match="error 700, an illegal memory access"):
        session.run(_pixels(1, 3, 64, 96))
    session.close()
    gc.collect()
    assert gpu.machine.live() == 0


def test_a_run_tensorrt_refuses(static_onnx: Path, make_gpu: MakeGpu) -> None:
    gpu = make_gpu()
    with gpu.open(gpu.engine(static_onnx)) as session:
        gpu.trt._situation.execute_fails = True
        with pytest.raises(CheckFailedError, match="to run .* API Usage Error"):
            session.run(_pixels(1, 3, 64, 96))


@pytest.mark.filterwarnings("error")  # what fails while memory is given back is one
def test_after_a_fault_of_the_device_the_first_error_is_told(
    static_onnx: Path, make_gpu: MakeGpu
) -> None:
    """Every later call fails too, those of closing as well; the array a user kept stays."""
    gpu = make_gpu()
    kept: list[np.ndarray] = []
    with pytest.raises(CheckFailedError, match="cudaEventRecord .* illegal memory access"):
        with gpu.open(gpu.engine(static_onnx)) as session:
            kept.append(session.run(_pixels(1, 3, 64, 96))["segmentation"])
            gpu.machine.library.fake_break(700)
            session.run(_pixels(1, 3, 64, 96))
    assert np.isfinite(kept.pop()).all()
    gc.collect()
    gpu.machine.library.fake_reset()


def test_an_error_of_closing_is_told_where_there_is_no_other(
    static_onnx: Path, make_gpu: MakeGpu
) -> None:
    gpu = make_gpu()
    with pytest.raises(CheckFailedError, match="cudaStreamDestroy"):
        with gpu.open(gpu.engine(static_onnx)):
            gpu.machine.fail("cudaStreamDestroy", code=700)
    gpu.machine.library.fake_reset()
