"""An artifact: a file some runtime executes, with its contract and lineage.

Both travel inside the ONNX file as metadata properties (`segship.contract`,
`segship.lineage`), so that a copied file still says how it must be used.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..data.contract import Contract

CONTRACT_KEY = "segship.contract"
LINEAGE_KEY = "segship.lineage"
HALF_QDQ = "FP16 around INT8, Q/DQ in FP16"  # a pass note that runtimes look for


@dataclass(frozen=True)
class PassNote:
    """What one pass did to the model, kept for the reader of the artifact."""

    name: str
    changed: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lineage:
    """Where an artifact came from: hashes of its parents and the passes that made it."""

    source: str = ""
    source_sha256: str = ""
    flavour: str = ""
    variant: str = ""
    parameters: int = 0
    passes: tuple[PassNote, ...] = ()
    data_sha256: str = ""
    calibration_sha256: str = ""
    licence_note: str = ""
    tool_versions: dict[str, str] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()  # what nobody stated and segship took for granted

    def to_json(self) -> str:
        """Return the lineage as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Lineage:
        """Rebuild a lineage from `to_json` output."""
        values: dict[str, Any] = json.loads(text)
        notes = (PassNote(n["name"], n["changed"], tuple(n["notes"])) for n in values["passes"])
        assumed = tuple(values.get("assumptions", ()))
        return Lineage(**{**values, "passes": tuple(notes), "assumptions": assumed})


@dataclass(frozen=True)
class Artifact:
    """A file on disk that a runtime can open; `kind` is "checkpoint", "onnx" or "engine"."""

    path: Path
    kind: str
    contract: Contract
    lineage: Lineage
    sha256: str
