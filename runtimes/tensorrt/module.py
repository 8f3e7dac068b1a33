"""The one place that imports `tensorrt`; everything else takes the module as an argument."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ...common.errors import MissingDependencyError


def load_tensorrt() -> Any:
    """Return the `tensorrt` module.

    Raises:
        MissingDependencyError: it is not installed, or its libraries do not load.
    """
    try:
        module = import_module("tensorrt")
    except ImportError as error:
        raise MissingDependencyError(_advice(error)) from error
    if not hasattr(module, "Builder"):  # a folder of that name on the path imports too
        raise MissingDependencyError(
            "Expected TensorRT, but the module `tensorrt` is empty: remove folders of that name "
            "from the path, and pip install tensorrt-cu12 (tensorrt-cu13 for CUDA 13)."
        )
    return module


def _advice(error: ImportError) -> str:
    """Return one line: not installed, or installed and without a library it needs."""
    if isinstance(error, ModuleNotFoundError) and error.name == "tensorrt":
        return (
            "Expected TensorRT, but it is not installed: pip install tensorrt-cu12 (tensorrt-cu13 "
            "for CUDA 13); a Jetson has it from JetPack, and a virtual environment there needs "
            "--system-site-packages."
        )
    reason = " ".join(str(error).split()).rstrip(".")
    return (
        f"Expected TensorRT, but it does not load ({reason[:200]}): install its libraries of the "
        "same release (pip install tensorrt-cu12), or add their folder to LD_LIBRARY_PATH."
    )
