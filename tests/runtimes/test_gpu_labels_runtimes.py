"""torch and ONNX Runtime leave their logits on the GPU; the kernels give the CPU path's labels.

The GPU is the CPU behind the same calls: real are the sessions, the kernels' source and ctypes.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segship.benchmark.subject import Subject
from segship.common.errors import InputError
from segship.models.checkpoints import load_checkpoint
from segship.runtimes import onnxruntime_gpu as ort_module
from segship.runtimes import onnxruntime_labels as labels_module
from segship.runtimes.cuda.labels import GpuLabels
from segship.runtimes.onnxruntime_gpu import OnnxRuntimeGpuSession
from segship.runtimes.open import load_artifact
from segship.runtimes.session import Session
from segship.runtimes.torch_session import TorchSession
from segship.runtimes.torch_tensorrt_session import TorchTensorRtSession
from segship.tests.runtimes.fake_cuda import FakeMachine
from segship.tests.runtimes.fake_kernels import (
    IMAGE,
    FakeLabeller,
    built_driver,
    queue_kernels,
)
from segship.tests.runtimes.fake_torch_gpu import CpuAsGpu
from segship.tests.runtimes.fake_torch_tensorrt import FakeTorchTensorRt

SIZE_PX = (90, 131)  # no multiple of the logits' 16 by 24


def _pixels(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


class _Small(nn.Module):
    """One convolution in the place of a SegFormer; its logits are not contiguous."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, classes, 3, stride=4, padding=1)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        last: Tensor = self.layer(pixels).permute(0, 2, 3, 1).contiguous()
        return {"segmentation": last.permute(0, 3, 1, 2)}


@pytest.fixture
def torch_gpu() -> Iterator[CpuAsGpu]:
    """torch's CPU as a GPU, with the kernels beside it; the session must close them."""
    fake, gpu = FakeLabeller(), CpuAsGpu()
    gpu.labeller = lambda: fake.labeller  # type: ignore[method-assign]
    gpu.stream = lambda: fake.stream  # type: ignore[method-assign]
    yield gpu
    assert fake.driver.fake_loaded() == 0
    fake.close()
    gc.collect()
    assert fake.machine.live() == 0


def _same_as_on_the_cpu(session: Session) -> None:
    for seed in range(3):
        pixels = _pixels(1, 3, 64, 96) + np.float32(seed)
        labels = Subject("gpu", session, session.contract, "gpu").see(pixels, SIZE_PX, None).labels
        wanted = Subject("cpu", session, session.contract).see(pixels, SIZE_PX, None).labels
        assert wanted is not None and len(np.unique(wanted)) > 1
        np.testing.assert_array_equal(labels, wanted)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("runtime", ["torch-cuda", "torch-cuda-graph"])
def test_torch_leaves_its_logits_on_the_device_too(
    runtime: str, precision: str, tiny_checkpoint: Path, torch_gpu: CpuAsGpu
) -> None:
    loaded = load_checkpoint(tiny_checkpoint)
    small = _Small(loaded.spec.heads[0].classes).eval()
    loaded = replace(loaded, model=small)  # type: ignore[arg-type]  # acts as one
    with TorchSession(loaded, precision, 1, runtime=runtime, gpu=torch_gpu) as session:
        _same_as_on_the_cpu(session)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_torch_tensorrt_leaves_its_logits_on_the_device_too(
    precision: str, tiny_checkpoint: Path, torch_gpu: CpuAsGpu
) -> None:
    loaded = load_checkpoint(tiny_checkpoint)
    small = _Small(loaded.spec.heads[0].classes).eval()
    loaded = replace(loaded, model=small)  # type: ignore[arg-type]  # acts as one
    trt = FakeTorchTensorRt()
    with TorchTensorRtSession(loaded, precision, 1, trt=trt, gpu=torch_gpu) as session:
        _same_as_on_the_cpu(session)


def test_onnx_runtime_leaves_its_logits_on_the_device_too(
    static_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = FakeMachine()
    queue_kernels(machine)
    monkeypatch.setitem(ort_module.PROVIDERS, "onnxruntime-cuda", ("CPUExecutionProvider",))
    monkeypatch.setattr(ort_module, "DEVICE", "cpu")
    monkeypatch.setattr(labels_module, "cuda", machine.cuda)
    fakes = partial(GpuLabels, image=IMAGE, driver=built_driver())
    monkeypatch.setattr(labels_module, "GpuLabels", fakes)
    artifact = load_artifact(static_onnx)
    with OnnxRuntimeGpuSession(artifact, "fp32", 1, runtime="onnxruntime-cuda") as session:
        _same_as_on_the_cpu(session)
        assert session.device_times_ms() is not None
    gc.collect()
    assert machine.live() == 0


def test_torch_on_the_cpu_refuses(tiny_checkpoint: Path) -> None:
    with TorchSession(tiny_checkpoint, "fp32", 1) as session:
        with pytest.raises(InputError, match="torch does not: leave out --postprocess gpu"):
            session.run_keeping_logits(_pixels(1, 3, 64, 96))
