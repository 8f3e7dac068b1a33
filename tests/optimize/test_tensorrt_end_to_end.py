"""An ONNX file through `build` to a session and its numbers; GPU and kernels are stand-ins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segship.optimize.export import export
from segship.optimize.tensorrt.build import build
from segship.runtimes.open import load_artifact, open_session
from segship.tests.runtimes.fake_engine import FakeGpu
from segship.tests.runtimes.fake_tensorrt_strict import recorded_versions


@pytest.fixture(scope="module")
def free(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with free batch, height and width. Do not change the file."""
    path = tmp_path_factory.mktemp("onnx") / "dynamic.onnx"
    export(tiny_checkpoint, path, dynamic=True)
    return path


@pytest.mark.parametrize("version", recorded_versions())
def test_what_was_built_opens_and_gives_the_models_numbers(
    free: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    gpu, target = FakeGpu(version), tmp_path / "m.engine"
    build(
        free,
        target,
        trt=gpu.trt,
        device=gpu.machine.cuda().device_info(),
        batches=(1, 2),
        sizes_px=((64, 64), (64, 96)),
    )
    rng = np.random.default_rng(0)
    with (
        gpu.open(load_artifact(target)) as engine,
        open_session(free, runtime="onnxruntime") as graph,
    ):
        for shape in ((1, 3, 64, 96), (2, 3, 64, 64)):
            pixels = rng.standard_normal(shape).astype(np.float32)
            expected = graph.run(pixels)["segmentation"].copy()
            found = engine.run(pixels)["segmentation"]
            # float32 rounding: 8.5 gets norms in pieces, and threads split sums otherwise
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
