"""Torch-TensorRT: the export and the shapes for real, the compiler by its recorded names."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segship.common.errors import CheckFailedError, InputError, MissingDependencyError
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.runtimes.open import open_session
from segship.runtimes.torch_tensorrt_session import TorchTensorRtSession
from segship.tests.runtimes.fake_torch_gpu import CpuAsGpu
from segship.tests.runtimes.fake_torch_tensorrt import FakeTorchTensorRt


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


class _Small(nn.Module):
    """One convolution, as a model returns it: exported at once where a SegFormer takes seconds."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 9, 3, padding=1)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"segmentation": self.layer(pixels)}


@pytest.fixture
def loaded(tiny_checkpoint: Path) -> Checkpoint:
    """A small model at 64x96 in the place of the checkpoint's."""
    found = load_checkpoint(tiny_checkpoint)
    return replace(found, model=_Small().eval())  # type: ignore[arg-type]  # acts as one


@pytest.fixture
def small_checkpoint(
    tiny_checkpoint: Path, loaded: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A checkpoint that is read as the small model."""
    name = "segship.runtimes.torch_tensorrt_session.load_checkpoint"
    monkeypatch.setattr(name, lambda _: loaded)
    return tiny_checkpoint


def _pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _open(source: Any, trt: FakeTorchTensorRt, precision: str = "fp32") -> TorchTensorRtSession:
    return TorchTensorRtSession(source, precision, 1, trt=trt, gpu=CpuAsGpu())


def _expected(loaded: Checkpoint, pixels: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    model = copy.deepcopy(loaded.model).to(dtype)
    with torch.inference_mode():
        found = model(torch.from_numpy(pixels).to(dtype))["segmentation"]
    return np.asarray(found.numpy())


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("fp16", torch.float16)])
def test_the_exported_program_takes_every_shape_of_its_range(
    precision: str, dtype: torch.dtype, loaded: Checkpoint, tiny_checkpoint: Path
) -> None:
    """A real SegFormer in FP32, the small model in FP16."""
    loaded = load_checkpoint(tiny_checkpoint) if precision == "fp32" else loaded
    trt = FakeTorchTensorRt()
    with _open(loaded, trt, precision) as session:
        assert (session.runtime, session.precision) == ("torch-tensorrt", precision)
        for shape in ((1, 3, 64, 64), (1, 3, 64, 96), (3, 3, 128, 96), (4, 3, 128, 192)):
            pixels = _pixels(*shape)
            got = session.run(pixels)["segmentation"]
            expected = _expected(loaded, pixels, dtype)
            assert got.dtype == expected.dtype == session.outputs[0].dtype
            # decomposed operators add in another order
            tolerance = 1e-5 if dtype is torch.float32 else 2e-2
            np.testing.assert_allclose(got, expected, atol=tolerance * np.abs(expected).max())
        assert session.device_times_ms() is not None
        for shape in ((5, 3, 64, 96), (1, 3, 32, 96), (1, 3, 64, 100), (1, 3, 64, 224)):
            with pytest.raises(InputError, match="in steps of 32 px .* but got"):
                session.run(_pixels(*shape))
    ((name, given),) = trt.calls
    assert name == "dynamo.compile"  # a loaded checkpoint may be rewritten: nothing is kept
    assert given["use_explicit_typing"] and given["disable_tf32"]
    assert "enabled_precisions" not in given  # refused beside explicit typing
    (declared,) = given["arg_inputs"]
    assert declared.dtype is dtype
    assert (declared.min_shape, declared.opt_shape) == ((1, 3, 64, 64), (1, 3, 64, 96))
    assert declared.max_shape == (4, 3, 128, 192)


def test_a_size_that_is_no_multiple_of_32_is_compiled_alone(loaded: Checkpoint) -> None:
    trt = FakeTorchTensorRt()
    odd = replace(loaded, contract=loaded.contract.with_size(75, 133))
    with _open(odd, trt) as session:
        assert session.input.shape == (1, 3, 75, 133)
        pixels = _pixels(1, 3, 75, 133)
        expected = _expected(loaded, pixels, torch.float32)
        got = session.run(pixels)["segmentation"]
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
        with pytest.raises(InputError, match="shape"):
            session.run(_pixels(1, 3, 64, 96))
    assert trt.calls[0][1]["arg_inputs"][0].shape == (1, 3, 75, 133)


def test_a_compiled_program_is_kept_and_a_damaged_one_made_again(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    def opened(precision: str) -> tuple[list[str], np.ndarray]:
        trt = FakeTorchTensorRt()
        with _open(small_checkpoint, trt, precision) as session:
            assert session.notes == ()
            result = session.run(_pixels(2, 3, 64, 96))["segmentation"].copy()
        return [name for name, _ in trt.calls], result

    made, first = opened("fp32")
    assert made == ["dynamo.compile", "save"]
    loaded_again, second = opened("fp32")
    assert loaded_again == ["load"]
    assert opened("fp16")[0] == made  # another precision is another program
    for item in tmp_path.rglob("program.ep"):
        item.write_bytes(b"damaged")
    repaired, third = opened("fp32")
    assert repaired == ["load", *made]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


def test_what_cannot_be_kept_is_said_and_leaves_no_half_file(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    trt = FakeTorchTensorRt()
    trt.saving = RuntimeError("no\nserialiser")
    with _open(small_checkpoint, trt) as session:
        assert session.notes == ("The compiled program was not kept: no serialiser",)
        session.run(_pixels(1, 3, 64, 96))
    assert [item for item in tmp_path.rglob("*") if item.is_file()] == []


def test_a_failed_build_is_one_line(loaded: Checkpoint) -> None:
    trt = FakeTorchTensorRt()
    trt.compiling = RuntimeError("[TRT] Error\nCode 4")
    with pytest.raises(CheckFailedError, match=r"cannot compile it: \[TRT\] Error Code 4"):
        _open(loaded, trt)


def test_the_loaded_model_stays_as_it_was(loaded: Checkpoint) -> None:
    _open(loaded, FakeTorchTensorRt(), "fp16").close()
    assert {item.dtype for item in loaded.model.parameters()} == {torch.float32}


def test_without_the_package_the_refusal_says_how_to_get_it(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    with pytest.raises(MissingDependencyError, match="pip install torch-tensorrt"):
        open_session(tiny_checkpoint, runtime="torch-tensorrt", precision="fp16")


def test_int8_needs_images_and_modelopt(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="Expected images for INT8 .* segship quantize"):
        open_session(tiny_checkpoint, runtime="torch-tensorrt", precision="int8")
    monkeypatch.setitem(sys.modules, "modelopt", None)
    with pytest.raises(MissingDependencyError, match="pip install nvidia-modelopt"):
        TorchTensorRtSession(tiny_checkpoint, "int8", 1, images=[_pixels(1, 3, 64, 96)])


def test_int8_ranges_come_from_the_images_and_the_export_knows(
    loaded: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ModelOpt's own names, by a stand-in; what it does to the model is not run here."""
    done: list[Any] = []

    @contextmanager
    def export_torch_mode() -> Iterator[None]:
        done.append("export begins")
        yield
        done.append("export ends")

    def quantize(model: Any, config: object, forward_loop: Any) -> Any:
        forward_loop(lambda pixels: done.append((tuple(pixels.shape), config)))
        return model

    module: Any = ModuleType("modelopt.torch.quantization")
    module.INT8_DEFAULT_CFG, module.quantize = "int8 by default", quantize
    module.utils = SimpleNamespace(export_torch_mode=export_torch_mode)
    for name in ("modelopt", "modelopt.torch"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "modelopt.torch.quantization", module)
    images = [_pixels(1, 3, 64, 96), _pixels(2, 3, 64, 96)]
    trt = FakeTorchTensorRt()
    options: Any = {"images": images, "trt": trt, "gpu": CpuAsGpu()}
    with TorchTensorRtSession(loaded, "int8", 1, **options) as session:
        assert session.precision == "int8"
    shapes = [((1, 3, 64, 96), "int8 by default"), ((2, 3, 64, 96), "int8 by default")]
    assert done == [*shapes, "export begins", "export ends"]
    assert [name for name, _ in trt.calls] == ["dynamo.compile"]
