"""Run two graphs over images in groups of values, and compare what they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from ..common.progress import track
from ..optimize.quantize.parts import part_of
from .debug_graph import Graph
from .debug_noise import Tally, Value, laid_out
from .debug_points import Point

Array = NDArray[Any]
Pair = tuple[Array, Array]  # the pixels of one image for A and for B, (B,3,H,W)
Images = Callable[[], Iterable[Pair]]
_HELD = 6  # a value in A, in B and in B from A's values, and as much again while they are compared


@dataclass(frozen=True)
class Comparison:
    """All values in forward order.

    `agreement` is the share of equal labels; `broken_image` the first image (from 0) on which B
    has NaN or Inf where A has not.
    """

    values: tuple[Value, ...]
    images: int
    agreement: float | None
    broken_image: int | None


@dataclass(frozen=True)
class NotFinite:
    """The first tensor of B in forward order that holds NaN or Inf, on image number `image`."""

    tensor: str
    node: str
    operator: str
    part: str | None
    image: int
    nan: int
    inf: int


class _Group:
    """Points compared in one run: both graphs up to them, and B's from A's values."""

    def __init__(
        self, a: Graph, b: Graph, points: Sequence[Point], every: dict[str, Point], threads: int
    ) -> None:
        self.points = points
        keys = dict.fromkeys(key for item in points for key in (*item.before, item.key))
        self.known = [every[key] for key in keys]
        self.a = a.piece([item.a for item in self.known], threads=threads)
        self.b = b.piece([item.b for item in self.known], threads=threads)
        given = {item.b for item in every.values()}
        self.own = b.piece([item.b for item in points], given=given, threads=threads)

    def add(self, pair: Pair, tallies: dict[str, Tally]) -> None:
        """Count one image.

        Raises:
            InputError: a value has another shape in A than in B.
        """
        first, second = self.a.run(pair[0]), self.b.run(pair[1])
        values, given = {}, {}
        for item in self.known:
            value = laid_out(first.pop(item.a), second[item.b].shape)
            if value is None:
                raise InputError(
                    f"Expected equal shapes at {item.key}, but the two differ: compare files of "
                    "one checkpoint."
                )
            values[item.key] = given[item.b] = value
        own = self.own.run(pair[1], given)
        for item in self.points:
            compared = (values[item.key], second[item.b], own[item.b])
            tallies[item.key].add(*compared, labels=item.part.endswith("classifier"))


def compare(
    a: Graph,
    b: Graph,
    points: Sequence[Point],
    images: Images,
    *,
    threads: int,
    memory_mib: int,
    progress: bool,
) -> Comparison:
    """Return every point's noise over what `images` yields; it is called once per group.

    Raises:
        InputError: the graphs compute values of different shapes.
    """
    every = {item.key: item for item in points}
    groups = list(_groups(a, points, memory_mib))
    tallies = {item.key: Tally() for item in points}
    broken: list[int] = []
    images_seen = 0
    for part in track(groups, "parts", len(groups)) if progress else groups:
        group = _Group(a, b, part, every, threads)
        for number, pair in enumerate(images()):
            images_seen = number + 1
            before = sum(tallies[item.key].not_finite for item in part)
            group.add(pair, tallies)
            if sum(tallies[item.key].not_finite for item in part) > before:
                broken.append(number)
    equal = sum(item.equal for item in tallies.values())
    pixels = sum(item.pixels for item in tallies.values())
    return Comparison(
        values=tuple(tallies[item.key].value(item) for item in points),
        images=images_seen,
        agreement=equal / pixels if pixels else None,
        broken_image=min(broken, default=None),
    )


def first_not_finite(
    b: Graph, pixels: Array, image: int, *, threads: int, memory_mib: int
) -> NotFinite | None:
    """Return the first tensor of `b` that is not finite for `pixels`, casts and Q/DQ included."""
    for names in _chunks(b, memory_mib):
        found = b.piece(names, threads=threads).run(pixels)
        for name in names:
            value = found[name]
            if not np.isfinite(value).all():
                node = b.view.producer[name]
                nan, inf = int(np.isnan(value).sum()), int(np.isinf(value).sum())
                return NotFinite(name, node.name, node.op_type, part_of(node.name), image, nan, inf)
    return None


def _groups(graph: Graph, points: Sequence[Point], memory_mib: int) -> Iterator[list[Point]]:
    """Divide the points so that what one run holds stays in the memory."""
    held, group = 0, list[Point]()
    for item in points:
        size = _HELD * graph.bytes_of(item.a)
        if group and held + size > memory_mib << 20:
            yield group
            held, group = 0, []
        group.append(item)
        held += size
    if group:
        yield group


def _chunks(graph: Graph, memory_mib: int) -> Iterator[list[str]]:
    """Yield the names of all float tensors in forward order, as many as fit the memory."""
    held, names = 0, list[str]()
    for node in graph.view.nodes:
        for name in node.output:
            if not name or graph.dtype_of(name) is None:
                continue
            if names and held > memory_mib << 20:
                yield names
                held, names = 0, []
            names.append(name)
            held += graph.bytes_of(name)
    if names:
        yield names
