"""A torch_tensorrt that takes exactly the recorded names and parameters, and runs in torch."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

RECORDED = Path(__file__).parent / "tensorrt_api" / "torch_tensorrt-2.11.0.json"


class FakeTorchTensorRt:
    """What a session calls of torch_tensorrt; every call is kept in `calls`."""

    __version__ = "2.11.0"

    def __init__(self) -> None:
        """Read the recorded names."""
        recorded = json.loads(RECORDED.read_text())
        self._functions, self._classes = recorded["functions"], recorded["classes"]
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.saving: Exception | None = None
        self.compiling: Exception | None = None
        self.dynamo = SimpleNamespace(compile=self._compile)

    def Input(self, **given: Any) -> Any:  # the module's own name
        """Keep what an input was declared as."""
        unknown = set(given) - set(self._classes["torch_tensorrt.Input"]["keywords"])
        assert not unknown, f"torch_tensorrt.Input has no {unknown}"
        assert ("shape" in given) != ("min_shape" in given)
        return SimpleNamespace(**given)

    def _compile(self, exported_program: Any, **given: Any) -> Any:
        self._called("dynamo.compile", given)
        if self.compiling is not None:
            raise self.compiling
        return exported_program.module()

    def save(self, module: Any, file_path: str, **given: Any) -> None:
        """Write the program as torch does."""
        self._called("save", given)
        if self.saving is not None:
            Path(file_path).write_bytes(b"half")
            raise self.saving
        (declared,) = given["arg_inputs"]
        example = getattr(declared, "shape", None) or (2, *declared.opt_shape[1:])
        pixels = torch.zeros(example, dtype=declared.dtype)
        torch.export.save(torch.export.export(module, (pixels,), strict=False), file_path)

    def load(self, file_path: str) -> Any:
        """Read what `save` wrote."""
        self._called("load", {})
        return torch.export.load(file_path)

    def _called(self, name: str, given: dict[str, Any]) -> None:
        known = self._functions[f"torch_tensorrt.{name}"]
        unknown = set(given) - set(known["keyword_only"]) - set(known["positional"])
        assert not unknown, f"torch_tensorrt.{name} has no {unknown}"
        self.calls.append((name, given))
