"""Which graph runs which shape."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segship.data.contract import Contract, ResizeRule
from segship.runtimes.per_shape import PerShape, Shape
from segship.runtimes.session import TensorInfo

FREE = TensorInfo("pixels", "float32", ("batch", 3, "height", "width"))
CONTRACT = Contract(size_px=(64, 96))
USUAL = (1, 3, 64, 96)
OWN, GENERAL = f"graph for {USUAL}", "graph for None"


class Builder:
    """Remembers what was built."""

    def __init__(self) -> None:
        self.built: list[Shape | None] = []

    def __call__(self, shape: Shape | None) -> str:
        self.built.append(shape)
        return f"graph for {shape}"


def test_the_contracts_shape_has_its_own_graph_and_all_others_one() -> None:
    build = Builder()
    graphs = PerShape(build, FREE, CONTRACT)
    assert build.built == [USUAL]
    assert graphs.graph_for(USUAL) == OWN
    assert build.built == [USUAL]
    for other in ((2, 3, 64, 96), (1, 3, 96, 64), (2, 3, 64, 96)):
        assert graphs.graph_for(other) == GENERAL
    assert graphs.graph_for(USUAL) == OWN
    assert build.built == [USUAL, None]


@pytest.mark.parametrize(
    ("taken", "contract"),
    [
        (replace(FREE, shape=USUAL), CONTRACT),
        (replace(FREE, shape=("batch", 3, 32, 32)), CONTRACT),
        (FREE, replace(CONTRACT, resize=ResizeRule.NONE)),
    ],
    ids=["static", "other size", "images keep their sizes"],
)
def test_one_graph_where_no_shape_is_usual(taken: TensorInfo, contract: Contract) -> None:
    build = Builder()
    graphs = PerShape(build, taken, contract)
    assert graphs.graph_for(USUAL) == graphs.graph_for((1, 3, 32, 32)) == GENERAL
    assert build.built == [None]
