"""Which provider did each node of an ONNX Runtime session run on? Read from its own profile."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.errors import CheckFailedError
from .session import Array

CPU = "CPUExecutionProvider"
# what a GPU is bought for; shape arithmetic (Shape, Gather …) lies on the CPU on purpose
_ARITHMETIC = (
    "Attention",
    "Conv",
    "Einsum",
    "Gelu",
    "Gemm",
    "LayerNormalization",
    "MatMul",
    "Resize",
    "Softmax",
)


@dataclass(frozen=True)
class Placement:
    """Provider → operator → nodes that ran there."""

    nodes: Mapping[str, Counter[str]]

    def arithmetic_on_cpu(self, providers: Sequence[str]) -> tuple[str, ...]:
        """Return the operators that compute and yet ran on a CPU nobody asked for.

        >>> placed = Placement({CPU: Counter({"FusedConv": 2, "Shape": 1})})
        >>> placed.arithmetic_on_cpu(["CUDAExecutionProvider"])
        ('2 FusedConv',)
        """
        if CPU in providers:
            return ()
        found = self.nodes.get(CPU, Counter())
        return tuple(
            f"{count} {name}"
            for name, count in sorted(found.items())
            if any(part in name for part in _ARITHMETIC)
        )

    def notes(self, providers: Sequence[str]) -> tuple[str, ...]:
        """Return a sentence for every provider but the first of `providers` that runs nodes.

        >>> Placement({"A": Counter(x=3), "B": Counter(Shape=2)}).notes(["A", "B"])
        ('2 of 5 nodes run on B: 2 Shape.',)
        """
        total = sum(count for found in self.nodes.values() for count in found.values())
        return tuple(
            f"{sum(found.values())} of {total} nodes run on {provider}: "
            f"{', '.join(f'{count} {name}' for name, count in sorted(found.items()))}."
            for provider, found in sorted(self.nodes.items())
            if provider != providers[0]
        )


@contextlib.contextmanager
def profile_prefix() -> Iterator[str]:
    """Yield where a session may write the profile `read_placement` reads; deleted at the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield str(Path(folder) / "profile")


def read_placement(graph: Any, feeds: Mapping[str, Array]) -> Placement:
    """Run an `onnxruntime.InferenceSession` that profiles itself once; it stops profiling.

    Raises:
        CheckFailedError: the run failed.
    """
    try:
        graph.run(None, dict(feeds))
    except Exception as error:  # its exception classes share no public base
        reason = " ".join(str(error).split())
        raise CheckFailedError(f"ONNX Runtime cannot run this: {reason[:300]}") from error
    finally:
        path = graph.end_profiling()
    nodes: dict[str, Counter[str]] = {}
    for event in json.loads(Path(path).read_text(encoding="utf-8")):
        told = event.get("args", {})
        if event.get("cat") == "Node" and "provider" in told:
            nodes.setdefault(told["provider"], Counter())[told.get("op_name", "?")] += 1
    return Placement(nodes)
