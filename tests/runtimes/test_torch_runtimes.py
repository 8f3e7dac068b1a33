"""torch on a GPU, compiled and as a graph. The GPU is torch's CPU behind the same calls."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segship.common.errors import CheckFailedError, InputError, MissingDependencyError
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.runtimes.open import open_session
from segship.runtimes.torch_session import TorchSession
from segship.tests.runtimes.fake_torch_gpu import CpuAsGpu

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing")


def _pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _expected(path: Path, pixels: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    model = load_checkpoint(path).model.to(dtype)
    with torch.inference_mode():
        found: Tensor = model(torch.from_numpy(pixels).to(dtype))["segmentation"]
    return np.asarray(found.float().numpy())


@pytest.mark.parametrize("runtime", ["torch-cuda", "torch-cuda-graph"])
@pytest.mark.parametrize(
    ("precision", "dtype", "returned"),
    [
        ("fp32", torch.float32, "float32"),
        ("fp16", torch.float16, "float16"),
        ("bf16", torch.bfloat16, "float32"),
    ],
)
def test_a_gpu_session_gives_the_models_numbers(
    runtime: str, precision: str, dtype: torch.dtype, returned: str, tiny_checkpoint: Path
) -> None:
    gpu = CpuAsGpu()
    with TorchSession(tiny_checkpoint, precision, 1, runtime=runtime, gpu=gpu) as session:
        assert (session.runtime, session.precision) == (runtime, precision)
        for shape in ((1, 3, 64, 96), (2, 3, 75, 133), (1, 3, 64, 96)):
            pixels = _pixels(*shape)
            got = session.run(pixels)["segmentation"]
            assert got.dtype.name == session.outputs[0].dtype == returned
            np.testing.assert_array_equal(got, _expected(tiny_checkpoint, pixels, dtype))
        # a second image of a known shape: nothing of the first may remain
        pixels = 1 - _pixels(1, 3, 64, 96)
        got = session.run(pixels)["segmentation"]
        np.testing.assert_array_equal(got, _expected(tiny_checkpoint, pixels, dtype))
    graphs = (2, 4) if runtime == "torch-cuda-graph" else (0, 0)
    assert (gpu.captures, gpu.replays) == graphs
    assert gpu.released


def test_device_times_and_memory_are_those_of_the_last_run(tiny_checkpoint: Path) -> None:
    gpu = CpuAsGpu()
    with TorchSession(tiny_checkpoint, "fp32", 1, runtime="torch-cuda", gpu=gpu) as session:
        assert session._steps is not None and session.device_times_ms() is None
        model = session._steps._model

        def takes_7_ms(pixels: Tensor) -> dict[str, Tensor]:
            gpu.now_ms += 7
            return model(pixels)

        session._steps._model = takes_7_ms
        session.run(_pixels(1, 3, 64, 96))
        assert session.device_times_ms() == {"h2d": 0, "compute": 7, "d2h": 0}
        assert session.device_memory_mib() == {"tensors_peak": 3.0, "reserved_peak": 4.0}


def test_buffers_are_kept_for_few_shapes(tiny_checkpoint: Path) -> None:
    gpu = CpuAsGpu()
    with TorchSession(tiny_checkpoint, "fp32", 1, runtime="torch-cuda-graph", gpu=gpu) as session:
        for width in (32, 64, 96, 128, 160, 160, 32):
            session.run(_pixels(1, 3, 32, width))
    assert gpu.captures == 6  # 32 was dropped for 160 and came again


def test_a_loaded_checkpoint_and_torchs_settings_stay_as_they_were(tiny_checkpoint: Path) -> None:
    loaded = load_checkpoint(tiny_checkpoint)
    before = (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark)
    torch.backends.cudnn.allow_tf32 = True
    try:
        with TorchSession(loaded, "fp16", 1, runtime="torch-cuda", gpu=CpuAsGpu()):
            assert not torch.backends.cudnn.allow_tf32
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before
    assert {item.dtype for item in loaded.model.parameters()} == {torch.float32}


def test_out_of_memory_is_one_line(tiny_checkpoint: Path) -> None:
    with TorchSession(tiny_checkpoint, "fp32", 1, runtime="torch-cuda", gpu=CpuAsGpu()) as session:

        def full(_: Tensor) -> dict[str, Tensor]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nmore")

        assert session._steps is not None
        session._steps._model = full
        with pytest.raises(InputError, match=r"room for \(1, 3, 64, 96\)") as caught:
            session.run(_pixels(1, 3, 64, 96))
        assert "\n" not in str(caught.value)


class _Small(nn.Module):
    """One convolution, as a model returns it: compiles in seconds where a SegFormer takes one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"segmentation": torch.relu(self.layer(pixels))}


def _small(path: Path, model: nn.Module) -> Checkpoint:
    return replace(load_checkpoint(path), model=model)  # type: ignore[arg-type]  # acts as one


@needs_no_gpu
def test_torch_compile_runs_on_this_cpu(tiny_checkpoint: Path) -> None:
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("torch.compile needs a C++ compiler")
    model = _Small().eval()
    loaded = _small(tiny_checkpoint, model)
    with TorchSession(loaded, "fp32", 1, runtime="torch-compile") as session:
        assert session.runtime == "torch-compile" and session.device_times_ms() is None
        pixels = _pixels(1, 3, 64, 96)
        with torch.inference_mode():
            expected = model(torch.from_numpy(pixels))["segmentation"].numpy()
        got = session.run(pixels)["segmentation"]
        np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)  # other order of additions
        assert getattr(session._model, "_orig_mod", None) is model  # not the eager model


@needs_no_gpu
def test_what_torch_cannot_compile_whole_is_refused(tiny_checkpoint: Path) -> None:
    class Breaks(_Small):
        def forward(self, pixels: Tensor) -> dict[str, Tensor]:
            torch._dynamo.graph_break()
            return super().forward(pixels)

    loaded = _small(tiny_checkpoint, Breaks().eval())
    with TorchSession(loaded, "fp32", 1, runtime="torch-compile") as session:
        with pytest.raises(CheckFailedError, match="torch-compile cannot run this") as caught:
            session.run(_pixels(1, 3, 32, 32))
    assert "\n" not in str(caught.value)


@needs_no_gpu
def test_torch_compile_without_a_compiler_says_which(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segship.runtimes.torch_session.shutil.which", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"g\+\+"):
        open_session(tiny_checkpoint, runtime="torch-compile")


def test_torch_compile_is_on_the_gpu_where_there_is_one(tiny_checkpoint: Path) -> None:
    session = TorchSession(tiny_checkpoint, "fp16", 1, runtime="torch-compile", gpu=CpuAsGpu())
    assert session.runtime == "torch-cuda-compile"
    session.close()


@needs_no_gpu
@pytest.mark.parametrize("runtime", ["torch-cuda", "torch-cuda-compile", "torch-cuda-graph"])
def test_without_a_gpu_the_refusal_is_one_line(runtime: str, tiny_checkpoint: Path) -> None:
    built = torch.version.cuda
    error: Any = InputError if built else MissingDependencyError
    if runtime == "torch-cuda-compile":
        error = (InputError, MissingDependencyError)  # Triton may be missing too
    with pytest.raises(error, match="Expected") as caught:
        open_session(tiny_checkpoint, runtime=runtime, precision="fp16")
    assert "\n" not in str(caught.value)


@needs_no_gpu
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_cpu_stays_the_fp32_reference(precision: str, tiny_checkpoint: Path) -> None:
    for runtime in ("torch", "torch-compile"):
        with pytest.raises(InputError, match=f"Expected fp32 on runtime {runtime}"):
            open_session(tiny_checkpoint, runtime=runtime, precision=precision)
