"""Labels made on the device, from the engine to the label map: the CPU path's labels."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segship.benchmark.subject import Subject
from segship.benchmark.windows import Slide
from segship.common.errors import InputError
from segship.data.contract import Contract, OutputKind
from segship.models.checkpoints import load_checkpoint
from segship.models.segformer import SegFormer
from segship.models.spec import HeadSpec
from segship.optimize.export import export
from segship.runtimes.cuda.labels import DeviceLogits, GpuLabels
from segship.runtimes.cuda.nvml import GpuState
from segship.runtimes.labels import labels_from_output
from segship.runtimes.onnxruntime_session import OnnxRuntimeSession
from segship.runtimes.open import load_artifact
from segship.runtimes.tensorrt import session as session_module
from segship.tests.benchmark.fakes import FunctionSession
from segship.tests.runtimes.fake_engine import FakeGpu
from segship.tests.runtimes.fake_kernels import (
    IMAGE,
    built_driver,
    queue_kernels,
)

SIZE_PX = (90, 131)  # no multiple of the logits' 16 by 24


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    """TensorRT and the kernels on one fake GPU; what stays alive on it fails."""
    fake = FakeGpu()
    queue_kernels(fake.machine)
    monkeypatch.setattr(session_module, "read_gpu_state", lambda _: GpuState())
    fakes = partial(GpuLabels, image=IMAGE, driver=built_driver())
    monkeypatch.setattr(session_module, "GpuLabels", fakes)
    yield fake
    gc.collect()
    assert fake.machine.live() == 0


def _pixels(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _seen(onnx: Path, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The labels of ONNX Runtime's logits, made on the CPU."""
    with OnnxRuntimeSession(load_artifact(onnx), "fp32", 1) as session:
        labels = Subject("cpu", session, session.contract).see(pixels, SIZE_PX, None).labels
    assert labels is not None and len(np.unique(labels)) > 1
    return labels


def test_a_frame_gives_the_labels_of_the_cpu_path(gpu: FakeGpu, static_onnx: Path) -> None:
    with gpu.open(gpu.engine(static_onnx)) as session:
        subject = Subject("gpu", session, session.contract, "gpu")
        for seed in range(4):  # buffers are reused, and later runs are a graph
            pixels = _pixels(1, 3, 64, 96) + np.float32(seed)
            labels = subject.see(pixels, SIZE_PX, None).labels
            np.testing.assert_array_equal(labels, _seen(static_onnx, pixels))
        times, memory = session.device_times_ms(), session.device_memory_mib()
    assert times is not None and set(times) == {"h2d", "compute", "d2h"}
    assert memory is not None and memory["buffers"] > 0


def test_logits_do_not_cross_the_bus(
    gpu: FakeGpu, static_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gpu.open(gpu.engine(static_onnx)) as session:
        copied: list[int] = []
        copy = session._cuda.copy_async

        def counted(to: int, source: int, size_bytes: int, kind: int, stream: int) -> None:
            copied.append(size_bytes)
            copy(to, source, size_bytes, kind, stream)

        monkeypatch.setattr(session._cuda, "copy_async", counted)
        Subject("gpu", session, session.contract, "gpu").see(_pixels(1, 3, 64, 96), SIZE_PX, None)
    image, labels = 4 * 3 * 64 * 96, SIZE_PX[0] * SIZE_PX[1]
    assert copied == [image, -(-labels // 4) * 4 + 4]  # whole words, and one that tells of NaN


def test_a_static_batch_labels_its_first_image(gpu: FakeGpu, dynamic_onnx: Path) -> None:
    ranges = (((2, 3, 64, 96),) * 3,)
    with gpu.open(gpu.engine(dynamic_onnx, ranges)) as session:
        session.input = replace(session.input, shape=(2, 3, 64, 96))
        pixels = _pixels(1, 3, 64, 96)
        outputs = Subject("gpu", session, session.contract, "gpu").outputs(pixels)
        (logits,) = outputs.values()
        assert isinstance(logits, DeviceLogits) and logits.shape[0] == 1
        labels = logits.labels(SIZE_PX)
    np.testing.assert_array_equal(labels[0], _seen(dynamic_onnx, pixels))


def test_depth_comes_to_the_host_beside_labels(
    gpu: FakeGpu, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint)
    heads = (checkpoint.spec.heads[0], HeadSpec("depth", classes=1, width=16))
    torch.manual_seed(2)
    model = SegFormer(replace(checkpoint.spec, heads=heads)).eval()
    contract = replace(checkpoint.contract, heads=("segmentation", "depth"))
    path = tmp_path / "both.onnx"
    export(replace(checkpoint, model=model, spec=model.spec, contract=contract), path)
    pixels = _pixels(1, 3, 64, 96)
    with gpu.open(gpu.engine(path)) as session:
        seen = Subject("gpu", session, session.contract, "gpu").see(pixels, SIZE_PX, SIZE_PX)
    with OnnxRuntimeSession(load_artifact(path), "fp32", 1) as reference:
        wanted = Subject("cpu", reference, reference.contract).see(pixels, SIZE_PX, SIZE_PX)
    assert seen.labels is not None and seen.depth is not None and wanted.depth is not None
    np.testing.assert_array_equal(seen.labels, wanted.labels)
    np.testing.assert_array_equal(seen.depth, wanted.depth)


def test_labels_from_the_graph_need_no_kernel(
    gpu: FakeGpu, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "GpuLabels", None)  # calling it would fail
    path = tmp_path / "labels.onnx"
    export(tiny_checkpoint, path, output_kind=OutputKind.LABELS)
    pixels = _pixels(1, 3, 64, 96)
    with gpu.open(gpu.engine(path)) as session:
        labels = Subject("gpu", session, session.contract, "gpu").see(pixels, SIZE_PX, None).labels
    np.testing.assert_array_equal(labels, _seen(path, pixels))


def test_a_runtime_with_logits_in_host_memory_is_refused(static_onnx: Path) -> None:
    with OnnxRuntimeSession(load_artifact(static_onnx), "fp32", 1) as session:
        subject = Subject("cpu", session, session.contract, "gpu")
        with pytest.raises(InputError, match="onnxruntime does not: leave out --postprocess gpu"):
            subject.see(_pixels(1, 3, 64, 96), SIZE_PX, None)


@pytest.mark.parametrize("way", ["slide", "flip"])
def test_averages_are_made_on_the_host(way: str) -> None:
    contract = Contract(classes=("a", "b"))
    session = FunctionSession(lambda pixels: {"segmentation": pixels[:, :2]}, contract)
    slide = Slide((32, 32), (16, 16)) if way == "slide" else None
    with pytest.raises(InputError, match="averaged over windows or flips"):
        Subject("both", session, contract, "gpu", slide, way == "flip")


def test_no_device_method_for_arrays_of_the_host() -> None:
    contract = Contract(classes=("a", "b"))
    with pytest.raises(InputError, match="they are in host memory"):
        labels_from_output(_pixels(1, 2, 4, 4), contract, (8, 8), method="gpu")


def test_the_contract_is_checked_on_the_device_too() -> None:
    never = cast(GpuLabels, None)
    logits = DeviceLogits(0, "float32", (1, 3, 4, 4), 0, never)
    with pytest.raises(InputError, match="2 classes as the contract says"):
        labels_from_output(logits, Contract(classes=("a", "b")), (8, 8), method="gpu")
