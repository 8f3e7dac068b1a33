"""Which part broke it? Signal-to-noise ratio per SegFormer part between two artifacts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..calibration.sampling import choose_images
from ..common.errors import InputError
from ..common.machine import usable_cores
from ..data.contract import Contract
from ..data.dataset import Dataset
from ..data.loader import prefetch
from ..data.preprocess import preprocess
from ..data.spec import open_dataset
from ..runtimes.artifact import Artifact
from ..runtimes.onnx_file import read_onnx_file
from ..runtimes.open import load_artifact
from .debug_compare import Comparison, Images, NotFinite, Pair, compare, first_not_finite
from .debug_graph import Graph
from .debug_noise import EXACT_DB, Value
from .debug_points import match_points, same_nodes

THRESHOLD_DB = 20.0  # noise of 1 % of the signal's power; 8 bits on a sound range give 25 to 45


@dataclass(frozen=True)
class PartNoise:
    """The worst value of a part: what reached it (`snr_db`) and what it makes itself (`own_db`).

    `also` are parts computed on the way to its values that have no values of their own.
    """

    part: str
    snr_db: float
    own_db: float
    key: str  # the value with the lowest own_db
    values: int
    max_abs: float
    peak: float
    not_finite: int
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class DebugReport:
    """Where B parts from A, part by part in forward order.

    `first` is the first value whose own noise lies below `threshold_db` or that is not finite,
    None where there is none; `worst` is the part with the most own noise, None where B equals A.
    `agreement` is the share of equal labels at 1/4 of the input's size, None without classes.
    """

    a: str
    b: str
    data: str
    images: int
    by_node: bool
    threshold_db: float
    parts: tuple[PartNoise, ...]
    first: Value | None
    worst: PartNoise | None
    not_finite: NotFinite | None
    agreement: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; decibels lie between -200 (not finite) and 200 (equal)."""
        return asdict(self)


def debug(
    a: str | Path,
    b: str | Path,
    *,
    data: str,
    images: int = 8,
    threshold_db: float = THRESHOLD_DB,
    seed: int = 0,
    threads: int | None = None,
    memory_mib: int = 512,
    progress: bool = True,
) -> DebugReport:
    """Compare two artifacts, or a checkpoint and an artifact, value by value on real images.

    Both run on ONNX Runtime without fusions: the graphs' own arithmetic, not that of a runtime's
    kernels. A checkpoint is exported for it (and checked against torch).

    Args:
        a: the reference, an ONNX file or a checkpoint.
        b: what is compared with it.
        data: data specification.
        images: how many of it, chosen at random with `seed`.
        threshold_db: signal-to-noise ratio below which a part counts as broken.
        seed: of the choice.
        threads: of ONNX Runtime; None uses the physical cores.
        memory_mib: the values held at once; more take several runs per image.
        progress: draw a bar on a terminal.

    Raises:
        InputError: a path, size or data is wrong, or the two have nothing in common.
        CheckFailedError: a checkpoint's export differs from torch.
    """
    cores = threads or usable_cores()
    with _opened(a, b) as artifacts:
        contracts, batch = _common_size(artifacts), _batch(artifacts)
        shape = (batch, 3, *contracts[0].size_px)
        first, second = _graph(artifacts[0], shape), _graph(artifacts[1], shape)
    lineages = (artifacts[0].lineage, artifacts[1].lineage)
    by_node = same_nodes(first.model, second.model, lineages)
    points = match_points(first.model, second.model, by_node=by_node)
    stream = _images(open_dataset(data, contract=contracts[0]), contracts, batch, images, seed)
    found = compare(
        first, second, points, stream, threads=cores, memory_mib=memory_mib, progress=progress
    )
    broken, number = None, found.broken_image
    if number is not None:
        pixels = next(islice(stream(), number, None))[1]
        broken = first_not_finite(second, pixels, number, threads=cores, memory_mib=memory_mib)
    report = _report(found, threshold_db, by_node=by_node)
    return replace(report, a=str(a), b=str(b), data=data, images=found.images, not_finite=broken)


def _images(
    dataset: Dataset, contracts: Sequence[Contract], batch: int, count: int, seed: int
) -> Images:
    """Return what yields the chosen images for both graphs, anew on every call."""
    indices = choose_images(len(dataset), count, seed=seed)

    def images() -> Iterator[Pair]:
        for item in prefetch(dataset, contracts[0], indices=indices):
            other = preprocess(item.image, contracts[1])
            yield np.repeat(item.pixels, batch, 0), np.repeat(other, batch, 0)

    return images


@contextmanager
def _opened(a: str | Path, b: str | Path) -> Iterator[list[Artifact]]:
    """Yield both as ONNX; a checkpoint is exported as the other one was, at its size."""
    artifacts = [load_artifact(a), load_artifact(b)]
    with tempfile.TemporaryDirectory(prefix="segship-debug-") as folder:
        for index, item in enumerate(artifacts):
            if item.kind != "onnx":
                other = artifacts[1 - index]
                artifacts[index] = _exported((a, b)[index], other, Path(folder) / f"{index}.onnx")
        yield artifacts


def _exported(source: str | Path, other: Artifact, path: Path) -> Artifact:
    from ..optimize.export import export

    fold = any(note.name == "fold-head" for note in other.lineage.passes)
    return export(source, path, size_px=other.contract.size_px, fold=fold).artifact


def _common_size(artifacts: Sequence[Artifact]) -> list[Contract]:
    """Return both contracts at one size: that of a static file, else that of A.

    Raises:
        InputError: both are static at different sizes.
    """
    fixed = {
        (shape[2], shape[3])
        for shape in (read_onnx_file(item.path).inputs[0].shape for item in artifacts)
        if isinstance(shape[2], int) and isinstance(shape[3], int)
    }
    if len(fixed) > 1:
        raise InputError(
            f"Expected artifacts of one input size, but got {artifacts[0].contract.size_px} and "
            f"{artifacts[1].contract.size_px}: export both at one size, or with --dynamic."
        )
    height, width = next(iter(fixed), artifacts[0].contract.size_px)
    return [item.contract.with_size(int(height), int(width)) for item in artifacts]


def _batch(artifacts: Sequence[Artifact]) -> int:
    found = {read_onnx_file(item.path).inputs[0].shape[0] for item in artifacts}
    fixed = {item for item in found if isinstance(item, int)}
    if len(fixed) > 1:
        raise InputError(f"Expected artifacts of one batch, but got {sorted(fixed)}.")
    return fixed.pop() if fixed else 1


def _graph(artifact: Artifact, shape: tuple[int, ...]) -> Graph:
    import onnx

    return Graph(onnx.load(str(artifact.path)), shape)


def _report(found: Comparison, threshold_db: float, *, by_node: bool) -> DebugReport:
    parts = _parts(found.values)
    first = next(
        (item for item in found.values if item.own_db < threshold_db or item.not_finite), None
    )
    worst = min(parts, key=lambda item: item.own_db)
    return DebugReport(
        a="",
        b="",
        data="",
        images=0,
        by_node=by_node,
        threshold_db=threshold_db,
        parts=parts,
        first=first,
        worst=worst if worst.own_db < EXACT_DB else None,
        not_finite=None,
        agreement=found.agreement,
    )


def _parts(values: Sequence[Value]) -> tuple[PartNoise, ...]:
    """Return one row per part, in the order of its first value."""
    groups: dict[str, list[Value]] = {}
    for item in values:
        groups.setdefault(item.part, []).append(item)
    found = []
    for part, items in groups.items():
        worst = min(items, key=lambda item: item.own_db)
        also = dict.fromkeys(name for item in items for name in item.parts)
        found.append(
            PartNoise(
                part=part,
                snr_db=min(item.snr_db for item in items),
                own_db=worst.own_db,
                key=worst.key,
                values=len(items),
                max_abs=max(item.max_abs for item in items),
                peak=max(item.peak for item in items),
                not_finite=sum(item.not_finite for item in items),
                also=tuple(name for name in also if name not in groups),
            )
        )
    return tuple(found)
