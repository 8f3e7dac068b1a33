"""Run real images through a graph and return the range of every activation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from ..common.progress import track
from ..runtimes.onnx_file import read_onnx_file
from .observers import make_observer
from .observers.percentile import DEFAULT_PERCENTILE
from .probe import Watched, watch_list
from .probe_session import ProbeSession
from .ranges import Ranges, summarise

SAMPLE = 65536  # values per tensor and image in the histograms: docs/decisions/0010-calibration.md
_UNKNOWN_SIZE = 1 << 24  # what a tensor of unknown size is taken for when memory is planned

Pixels = NDArray[Any]


def collect_ranges(
    model: Path,
    tensors: Sequence[str] | None,
    images: Iterable[Pixels],
    *,
    method: str = "entropy",
    symmetric: bool = True,
    percentile: float = DEFAULT_PERCENTILE,
    threads: int | None = None,
    memory_mib: int = 512,
    progress: bool = True,
    sample: int = SAMPLE,
) -> Ranges:
    """Return the ranges of `model`'s activations over `images`, each (B,3,H,W) as it takes them.

    Args:
        model: an ONNX file that is not quantized.
        tensors: names of activations; None: all float ones. Constants and shapes are no
            activations.
        images: read once, one at a time.
        method: "minmax", "percentile", "entropy" or "mse".
        symmetric: ranges [-T, T]; else [low, high] around zero.
        percentile: what the method of that name keeps, in per cent.
        threads: of ONNX Runtime; None uses the physical cores.
        memory_mib: the values that may leave the graph in one run; more take several runs.
        progress: show a bar on a terminal.
        sample: values per tensor and image that the histograms count, one from each of so many
            equal parts, chosen by the image's own hash; 0 counts all. Extremes are exact always.

    Raises:
        InputError: no image, one of another shape, an activation that is not finite (its name),
            an unknown tensor or method, or a quantized graph.
    """
    make_observer(method, percentile=percentile)  # refuse before work is done
    if memory_mib < 1 or sample < 0:
        raise InputError(
            f"Expected memory_mib of at least 1 and no negative sample, but got {memory_mib} and "
            f"{sample}."
        )
    graph = _load(model)
    watched = watch_list(graph, tensors)
    groups = _groups(watched, sample, memory_mib)
    sessions = [ProbeSession(graph, group, sample, threads) for group in groups]
    observers = {
        item.name: make_observer(method, item.name, percentile=percentile) for item in watched
    }
    del graph
    seen: list[bytes] = []
    stream = track(images, "calibration") if progress else images
    for pixels in stream:
        digest = hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
        for session in sessions:
            session.observe(pixels, digest, observers, len(seen))
        seen.append(digest)
    if not seen:
        raise InputError("Expected images to calibrate on, but got none.")
    found = {item: summarise(observers[item], symmetric=symmetric) for item in observers}
    return Ranges(
        method=method if method != "percentile" else f"percentile {percentile:g}",
        symmetric=symmetric,
        images=len(seen),
        digest=hashlib.sha256(b"".join(sorted(seen))).hexdigest(),
        tensors={name: found[item.name] for item in watched for name in item.aliases},
        sample=sample,
    )


def _groups(watched: Sequence[Watched], sample: int, memory_mib: int) -> list[tuple[Watched, ...]]:
    """Divide the tensors so that no group's samples hold more than `memory_mib`."""
    groups: list[list[Watched]] = [[]]
    held, most = 0, memory_mib << 18  # float32 values
    for item in watched:
        size = item.size if item.size is not None else sample or _UNKNOWN_SIZE
        leaves = min(size, sample) if sample else size
        if groups[-1] and held + leaves > most:
            groups.append([])
            held = 0
        groups[-1].append(item)
        held += leaves
    return [tuple(group) for group in groups if group]


def _load(path: Path) -> Any:
    """Return the ONNX model at `path` with the types of its tensors."""
    import onnx

    read_onnx_file(path)  # refuses what is no whole ONNX file
    return onnx.shape_inference.infer_shapes(onnx.load(str(path)), data_prop=True)
