"""What makes INT8 lose less without another node in the graph: roundings first, then biases.

Both look at what the quantized graph computes on calibration images, and both only change
constants of the float graph the quantizers are written into; ranges and plan stay.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ...calibration.ranges import Ranges
from ...runtimes.artifact import PassNote
from .adaptive import round_weights
from .correction import correct_biases
from .explain import NodeRow
from .float_graph import FloatGraph
from .plan import QuantPlan
from .request import QuantizeRequest

if TYPE_CHECKING:
    import onnx

IMAGES = 32  # calibration images the quantized graph is run on


@dataclass(frozen=True)
class Improved:
    """The float graph to write quantizers into, a note per pass, the SQNR of rounded weights."""

    model: onnx.ModelProto
    passes: tuple[PassNote, ...] = ()
    sqnr_db: dict[str, float] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done, a line each."""
        return tuple(line for item in self.passes for line in item.notes)

    def rows(self, rows: Sequence[NodeRow]) -> tuple[NodeRow, ...]:
        """Return `rows` with the signal-to-noise of the weights as they were rounded."""
        known = self.sqnr_db or {}
        rounded = {
            name: round(value, 2) if math.isfinite(value) else None for name, value in known.items()
        }
        return tuple(
            replace(row, weight_sqnr_db=rounded[row.node]) if row.node in rounded else row
            for row in rows
        )


def improve(
    floats: FloatGraph, request: QuantizeRequest, ranges: Ranges, plan: QuantPlan
) -> Improved:
    """Return the float graph with the roundings and biases `request` asks for.

    Raises:
        InputError: outputs in INT8 that are not finite.
        MissingDependencyError: adaptive rounding without torch.
    """

    def images() -> Iterator[NDArray[Any]]:
        return itertools.islice(floats.pixels(), IMAGES)

    model, passes, sqnr_db = floats.model, [], None
    if request.rounding == "adaptive":
        rounding = round_weights(model, ranges, plan, images)
        model, sqnr_db = rounding.model, rounding.sqnr_db
        passes.append(PassNote("adaptive-rounding", len(sqnr_db), rounding.notes))
    if request.bias_correction:
        found = correct_biases(model, ranges, plan, images(), reference=floats.model)
        model = found.model
        passes.append(PassNote("bias-correction", found.layers, found.notes))
    return Improved(model, tuple(passes), sqnr_db)
