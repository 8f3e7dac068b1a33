"""What `build` hands back: the engine, what each part got, what it took."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ...runtimes.artifact import Artifact
from ...runtimes.tensorrt.sidecar import EngineInfo
from .layers import LayerRow
from .repeat import RebuildVariance
from .sparsity import Sparsity
from .summary import BuildSummary

_MEBI = 1 << 20


@dataclass(frozen=True)
class BuildReport:
    """An engine that was built.

    `known_bad` are defects known of the installed TensorRT, `warnings` TensorRT's own during the
    build, `notes` ours. `activations_mib` is what an execution context allocates besides the
    weights. `variance` compares repeated builds, None for a single one.
    """

    artifact: Artifact
    info: EngineInfo
    rows: tuple[LayerRow, ...]
    summary: BuildSummary
    seconds: dict[str, float]
    notes: tuple[str, ...] = ()
    known_bad: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    sparsity: Sparsity | None = None
    activations_mib: float | None = None
    variance: RebuildVariance | None = None

    @property
    def size_mib(self) -> float:
        """Size of the engine file in MiB."""
        return self.info.engine_bytes / _MEBI

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        info = self.info
        return {
            "path": str(self.artifact.path),
            "sha256": self.artifact.sha256,
            "size_mib": self.size_mib,
            "activations_mib": self.activations_mib,
            "tensorrt": info.tensorrt,
            "cuda_runtime": info.cuda_runtime,
            "driver": info.driver,
            "gpu": info.gpu,
            "sm": info.sm,
            "precision": info.precision,
            "hardware_compatibility": info.hardware_compatibility,
            "version_compatible": info.version_compatible,
            "options": info.options,
            "profiles": [asdict(item) for item in info.profiles],
            "seconds": self.seconds,
            "notes": list(self.notes),
            "known_bad": list(self.known_bad),
            "warnings": list(self.warnings),
            "sparsity": None if self.sparsity is None else asdict(self.sparsity),
            "variance": None if self.variance is None else self.variance.to_json(),
            "summary": {**asdict(self.summary), "as_asked": self.summary.as_asked},
            "layers": [row.to_json() for row in self.rows],
        }
