"""The tiny checkpoint as ONNX files, static and dynamic, once per session."""

from __future__ import annotations

from pathlib import Path

import pytest

from segship.optimize.export import export

RUNTIMES = ("torch", "onnxruntime", "openvino")


@pytest.fixture(scope="session")
def dynamic_onnx(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Any batch and size; float32 in, logits out. Do not change the file."""
    path = tmp_path_factory.mktemp("onnx") / "dynamic.onnx"
    export(tiny_checkpoint, path, dynamic=True)
    return path


@pytest.fixture(scope="session")
def static_onnx(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """(1,3,64,96) float32 in, logits out. Do not change the file."""
    path = tmp_path_factory.mktemp("onnx") / "static.onnx"
    export(tiny_checkpoint, path)
    return path
