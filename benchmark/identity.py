"""What a measured artifact is: file, hash, size, parameters, multiply-accumulates."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data.contract import Contract
from ..runtimes.artifact import Artifact
from ..runtimes.open import load_artifact
from .candidate import Candidate
from .record import Measurement


def identify(candidate: Candidate, contract: Contract) -> Measurement:
    """Return a measurement without numbers: the artifact, its runtime and its size.

    `candidate` holds the name, runtime, precision and threads really used, `contract` the size.
    """
    artifact = load_artifact(candidate.source)
    shape = (candidate.batch, 3, *contract.size_px)
    parameters, gmacs = _complexity(artifact, shape)
    return Measurement(
        name=candidate.name,
        path=candidate.source,
        sha256=artifact.sha256,
        kind=artifact.kind,
        runtime=candidate.runtime,
        precision=candidate.precision,
        threads=candidate.threads or 0,
        batch=candidate.batch,
        input_shape=shape,
        parameters=parameters,
        gmacs=gmacs,
        contract=json.loads(contract.to_json()),
        lineage=_plain(asdict(artifact.lineage)),
        warnings=artifact.lineage.assumptions,
    )


def _complexity(artifact: Artifact, shape: tuple[int, ...]) -> tuple[int, float | None]:
    """Return parameters and GMACs of one image at the shape's size; None where unknown."""
    if artifact.kind == "checkpoint":
        from ..models.checkpoints import load_checkpoint
        from ..models.inspect import inspect_model

        found = inspect_model(load_checkpoint(artifact.path).model, (shape[2], shape[3]))
        return found.parameters, found.gmacs
    if artifact.kind == "engine":  # a plan tells neither
        return artifact.lineage.parameters, None
    if artifact.kind == "torchscript":  # its session was opened: running the file was asked for
        from ..runtimes.torchscript_session import script_cost

        return script_cost(str(artifact.path), shape)
    from .onnx_cost import onnx_cost

    cost = onnx_cost(Path(artifact.path), shape)
    return cost.parameters, cost.gmacs  # of this graph; the lineage keeps the checkpoint's


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return dataclass values as JSON would hold them (lists, not tuples)."""
    return dict(json.loads(json.dumps(values)))
