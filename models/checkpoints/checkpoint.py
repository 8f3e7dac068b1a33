"""What a reader returns: a model, what it is, and how pixels reach it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...common.errors import InputError
from ...data.contract import Contract
from ..segformer import SegFormer
from ..spec import ModelSpec


@dataclass(frozen=True)
class Checkpoint:
    """A trained SegFormer, whatever flavour it was stored in.

    `model` is in evaluation mode, float32, on the CPU. `notes` are sentences a user must know:
    what the files did not say, and what segship decided in their place. `path` is the local
    folder or file that was read (for a hub id: the downloaded snapshot).
    """

    model: SegFormer
    spec: ModelSpec
    contract: Contract
    notes: tuple[str, ...]
    path: Path

    def __post_init__(self) -> None:
        """Refuse a contract that names a head the model does not have."""
        names = [head.name for head in self.spec.heads]
        if unknown := [name for name in self.contract.heads if name not in names]:
            raise InputError(
                f"Expected heads of {', '.join(names)}, but the contract names "
                f"{', '.join(unknown)}: correct `heads`."
            )
