"""A TorchScript archive as an artifact: a program, told apart without running it.

`torch.jit.load` executes code of the archive. Nothing here calls it; the session does, where the
user names its runtime.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..common.files import sha256_file
from ..data.contract import Contract
from .artifact import Artifact, Lineage

if TYPE_CHECKING:
    from ..models.checkpoints.settings import Settings

KIND = "torchscript"
SUFFIXES = (".pt", ".pth", ".ts", ".torchscript")
NEEDED = ("size", "classes")


def is_torchscript(path: Path) -> bool:
    """Say whether a file is a zip archive with a folder of code, as torch.jit.save writes."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file() or not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.split("/")[1:2] == ["code"] for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def read_torchscript_artifact(
    path: Path, contract: Contract | None, settings: Settings | None
) -> Artifact:
    """Return the artifact of an archive; its contract is what the sidecar states.

    Raises:
        InputError: nobody says size and classes, or settings of a network are stated.
    """
    from ..models.checkpoints.settings import Settings, read_sidecar
    from .foreign_onnx import assumptions

    stated = (settings or Settings.none()).over(read_sidecar(path))
    if stated.spec:
        raise InputError(
            f"Expected only what concerns pixels and labels in {stated.origin}, but "
            f"{', '.join(stated.spec)} change a network, and {path} is built already."
        )
    if contract is None:
        missing = [key for key in NEEDED if key not in stated.stated]
        if missing:
            raise InputError(
                f"Expected {' and '.join(missing)} of {path}, which no TorchScript archive says: "
                f"write `size: 512x512` and `classes: [road, …]` into {path.name}.segship.yaml."
            )
        contract = Contract(**stated.contract)
    assumed = assumptions(path, contract, stated.contract)
    lineage = Lineage(source=str(path), flavour=KIND, assumptions=(*assumed, *stated.notes()))
    return Artifact(path, KIND, contract, lineage, sha256_file(path))


def refuse_unasked(place: str | Path) -> None:
    """Refuse to run an archive whose runtime the user did not name.

    Raises:
        InputError: always.
    """
    raise InputError(
        f"Expected a file that is no program, but {place} is a TorchScript archive, whose code "
        f"runs when it is opened: write {place}@torchscript if you trust where it came from."
    )
