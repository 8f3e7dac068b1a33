"""A pass changes a model and says what it did; a pipeline is a pass."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..models.segformer import SegFormer
from ..runtimes.artifact import PassNote


@dataclass(frozen=True)
class PassResult:
    """The model after a pass, how many places changed, and why the others did not."""

    model: SegFormer
    changed: int
    notes: tuple[str, ...] = ()


class Pass(Protocol):
    """A named transformation of a SegFormer in evaluation mode; it may change it in place."""

    name: str

    def run(self, model: SegFormer) -> PassResult:
        """Return the transformed model with what was done."""
        ...


class Pipeline:
    """Passes in order, on a copy of the model."""

    name = "pipeline"

    def __init__(self, passes: Sequence[Pass]) -> None:
        """Keep the passes; `record` holds what each did after `run`."""
        self.passes = tuple(passes)
        self.record: tuple[PassNote, ...] = ()

    def run(self, model: SegFormer) -> PassResult:
        """Run every pass on a deep copy of `model`."""
        current = copy.deepcopy(model).eval()
        record: list[PassNote] = []
        for item in self.passes:
            result = item.run(current)
            current = result.model
            record.append(PassNote(item.name, result.changed, result.notes))
        self.record = tuple(record)
        notes = tuple(f"{note.name}: {line}" for note in record for line in note.notes)
        return PassResult(current, sum(note.changed for note in record), notes)
