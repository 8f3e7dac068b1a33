"""A graph with free dimensions, compiled twice: for the shape it will mostly see, and for any.

A runtime that knows every dimension plans memory and folds shape arithmetic ahead: measured on a
dynamic B0, 16 % (ONNX Runtime) and 27 % (OpenVINO) less processor time per run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from ..data.contract import Contract, ResizeRule
from .session import TensorInfo

Graph = TypeVar("Graph")
Shape = tuple[int, ...]


class PerShape(Generic[Graph]):
    """The graph for one image of the contract's size, and the general one once it is needed."""

    def __init__(
        self, build: Callable[[Shape | None], Graph], taken: TensorInfo, contract: Contract
    ) -> None:
        """Build the graph that will mostly run; `build(None)` leaves free dimensions free."""
        self._build = build
        self._shape = usual_shape(taken, contract)
        self._usual = build(self._shape)
        self._general = self._usual if self._shape is None else None

    def graph_for(self, shape: Shape) -> Graph:
        """Return the graph that takes `shape`; the same one for the same shape, always."""
        if shape == self._shape:
            return self._usual
        if self._general is None:
            self._general = self._build(None)
        return self._general


def usual_shape(taken: TensorInfo, contract: Contract) -> Shape | None:
    """Return (1,3,height,width) of the contract where `taken` leaves it free, else None.

    None for a static input, and where images keep their own sizes.
    """
    shape = (1, 3, *contract.size_px)
    free = any(isinstance(dim, str) for dim in taken.shape)
    usual = free and contract.resize is ResizeRule.STRETCH and taken.accepts(shape)
    return shape if usual else None
