"""Per node: its precision, why, and what 8 bits cost its input and its weight."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...calibration.ranges import Ranges, TensorRange
from .plan import FLOAT, INT8, NodeChoice, QuantPlan
from .qdq_weights import weight_error_db
from .view import LAYOUT, GraphView

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class NodeRow:
    """One node. In INT8 range, clipped share and signal-to-noise are of its worst activation.

    `sqnr_db` is None where no error is made, `weight_sqnr_db` is of its weight in int8. In 16 bits
    the range is what was seen of its widest activation. A node left in float has no numbers.
    """

    node: str
    operator: str
    part: str
    precision: str
    reason: str
    tensor: str = ""
    low: float | None = None
    high: float | None = None
    clipped: float | None = None
    sqnr_db: float | None = None
    weight_sqnr_db: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def explain(model: onnx.ModelProto, plan: QuantPlan, ranges: Ranges) -> tuple[NodeRow, ...]:
    """Return one row per node of `plan`, in forward order; `model` is the float graph."""
    view = GraphView(model)
    return tuple(_row(choice, plan, view, ranges) for choice in plan.choices)


def _row(choice: NodeChoice, plan: QuantPlan, view: GraphView, ranges: Ranges) -> NodeRow:
    part = choice.part or ""
    row = NodeRow(choice.node, choice.operator, part, choice.precision, choice.reason)
    if choice.precision == FLOAT:
        return row
    known = [
        (name, ranges.tensors[name])
        for name in (_calibrated(item, view, ranges) for item in choice.inputs)
        if name
    ]
    values = asdict(row)
    if known and choice.precision == INT8:
        name, worst = min(known, key=lambda item: item[1].sqnr_db)
        values |= {"tensor": name, **_numbers(worst)}
    elif known:
        name, widest = max(known, key=lambda item: item[1].peak)
        values |= {"tensor": name, "low": widest.minimum, "high": widest.maximum}
    if choice.weight:
        node = view.named[choice.node]
        values["weight_sqnr_db"] = _finite(weight_error_db(view, plan.form, node, choice.weight))
    return NodeRow(**values)


def _calibrated(name: str, view: GraphView, ranges: Ranges) -> str:
    """Return `name`, or the tensor above layout operators that has its range; "" without one."""
    while name not in ranges.tensors:
        node = view.producer.get(name)
        if node is None or node.op_type not in LAYOUT:
            return ""
        name = node.input[0]
    return name


def _numbers(found: TensorRange) -> dict[str, float | None]:
    return {
        "low": found.low,
        "high": found.high,
        "clipped": found.clipped,
        "sqnr_db": _finite(found.sqnr_db),
    }


def _finite(value: float) -> float | None:
    return float(np.round(value, 2)) if math.isfinite(value) else None
