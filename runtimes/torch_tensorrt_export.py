"""A canonical model as an exported program that takes a range of shapes, for Torch-TensorRT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import CheckFailedError, InputError
from ..data.contract import Contract

STEP_PX = 32  # a SegFormer's deepest stage is 1/32 of the image
_LEAST_STEPS = 2  # one token a side would be another graph: sequences of length one are special
_BATCHES = 4


@dataclass(frozen=True)
class Range:
    """Smallest, usual and largest input (B,3,H,W); all equal where the graph is fixed."""

    least: tuple[int, int, int, int]
    usual: tuple[int, int, int, int]
    most: tuple[int, int, int, int]

    @property
    def free(self) -> bool:
        """Say whether there is more than one shape."""
        return self.least != self.most

    def refuse_outside(self, shape: tuple[int, ...]) -> None:
        """Refuse a shape the program was not compiled for.

        Raises:
            InputError: it lies outside, or between two steps.
        """
        rows = zip(self.least, shape, self.most, strict=True)
        inside = all(low <= side <= high for low, side, high in rows)
        if inside and (not self.free or all(side % STEP_PX == 0 for side in shape[2:])):
            return
        steps = f" in steps of {STEP_PX} px" if self.free else ""
        raise InputError(
            f"Expected an input between {self.least} and {self.most}{steps} on runtime "
            f"torch-tensorrt, but got {shape}: resize, or change the contract's size."
        )


class Heads(nn.Module):
    """A model whose outputs are a tuple in the order of the contract's heads."""

    def __init__(self, model: nn.Module, heads: tuple[str, ...]) -> None:
        """Wrap `model`, which returns a dictionary."""
        super().__init__()
        self.model, self.heads = model, heads

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return one tensor per head for pixels (B,3,H,W)."""
        found = self.model(pixels)
        return tuple(found[head] for head in self.heads)


def range_for(contract: Contract) -> Range:
    """Return the shapes around a contract's size; that one alone where it is no multiple of 32.

    >>> range_for(Contract(size_px=(64, 96))).most
    (4, 3, 128, 192)
    >>> range_for(Contract(size_px=(60, 96))).free
    False
    """
    height, width = contract.size_px
    least = _LEAST_STEPS * STEP_PX
    if height % STEP_PX or width % STEP_PX or min(height, width) < least:
        only = (1, 3, height, width)
        return Range(only, only, only)
    return Range((1, 3, least, least), (1, 3, height, width), (_BATCHES, 3, 2 * height, 2 * width))


def export_program(model: nn.Module, wanted: Range, dtype: torch.dtype, device: Any) -> Any:
    """Return `torch.export.ExportedProgram` of `model` for every shape of `wanted`.

    Raises:
        CheckFailedError: torch cannot export it so.
    """
    example = wanted.usual
    dynamic = None
    if wanted.free:
        # torch.export takes a side of 1 for a constant: trace with a batch of 2
        example = (2, *wanted.usual[1:])
        dynamic = (_dimensions(wanted),)
    pixels = torch.zeros(example, dtype=dtype, device=device)
    try:
        with torch.inference_mode(False), torch.no_grad():
            return torch.export.export(model, (pixels,), dynamic_shapes=dynamic, strict=False)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise CheckFailedError(f"torch.export cannot trace this model: {reason[:300]}") from error


def _dimensions(wanted: Range) -> dict[int, Any]:
    from torch.export import Dim

    sides = {
        axis: STEP_PX
        * Dim(name, min=wanted.least[axis] // STEP_PX, max=wanted.most[axis] // STEP_PX)
        for axis, name in ((2, "rows"), (3, "columns"))
    }
    return {0: Dim("batch", min=wanted.least[0], max=wanted.most[0]), **sides}
