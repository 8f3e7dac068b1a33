"""Where every head of a SegFormer looks, and how far INT8 moved it.

Taken are the softmax outputs of the last block of each stage, in the graph's own arithmetic on
ONNX Runtime without fusions: what a runtime's fused kernels compute may differ in the last bits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from ..common.files import existing_path
from ..common.machine import usable_cores
from ..data.contract import ResizeRule
from ..data.palette import Image8
from ..data.preprocess import decode, preprocess
from ..runtimes.artifact import Artifact
from ..runtimes.onnx_file import read_onnx_file
from ..runtimes.open import load_artifact
from .debug_graph import Graph

if TYPE_CHECKING:
    import onnx

Map = NDArray[np.float32]
_SOFTMAX = re.compile(r"/encoder/stages\.(\d+)/blocks\.(\d+)/attn/Softmax")
_PATCH_STRIDES = (4, 2, 2, 2)  # of the overlapping patch embeddings; their padding rounds up


@dataclass(frozen=True)
class HeadMaps:
    """One head of the last block of one stage; both count from 1.

    `maps` holds per artifact the attention each key gets, the mean over all queries times the
    number of keys (h,w): 1 everywhere where a head looks at everything alike. `moved` is the mean
    over all queries of ½ Σ|p − q| between the two artifacts' weights, the total variation
    distance: 0 the same, 1 nothing in common; None for one artifact.
    """

    stage: int
    head: int
    maps: tuple[Map, ...]
    moved: float | None


@dataclass(frozen=True)
class AttentionMaps:
    """All heads on one image, stage by stage; `photo` is the image RGB (H,W,3)."""

    image: str
    names: tuple[str, ...]
    photo: Image8
    heads: tuple[HeadMaps, ...]


def attention_maps(
    artifacts: Sequence[str | Path], image: str | Path, *, threads: int | None = None
) -> AttentionMaps:
    """Return the attention of one or two ONNX files that segship wrote, on one photo.

    Args:
        artifacts: the reference, then what is compared with it.
        image: a photo.
        threads: of ONNX Runtime; None uses the physical cores.

    Raises:
        InputError: a path is wrong, a file is no ONNX or names no attention, or the two differ in
            size or heads.
    """
    if not 1 <= len(artifacts) <= 2:
        raise InputError(f"Expected one or two artifacts, but got {len(artifacts)}.")
    found = [load_artifact(path) for path in artifacts]
    photo = decode(existing_path(image, "a photo").read_bytes(), str(image))
    cores = threads or usable_cores()
    weights = [_stages(item, photo, cores) for item in found]
    if len(weights) == 2 and _shapes(weights[0]) != _shapes(weights[1]):
        raise InputError(
            f"Expected the attention of one network at one size, but {found[0].path.name} and "
            f"{found[1].path.name} differ: export both from one checkpoint at one size."
        )
    contract = found[0].contract
    stretched = contract.resize is ResizeRule.STRETCH
    size_px = contract.size_px if stretched else photo.shape[:2]
    heads = tuple(
        _head(stage, head, [item[stage][head] for item in weights], size_px)
        for stage in sorted(weights[0])
        for head in range(len(weights[0][stage]))
    )
    return AttentionMaps(Path(image).name, tuple(item.path.name for item in found), photo, heads)


def softmax_outputs(model: onnx.ModelProto) -> dict[int, str]:
    """Return stage (from 0) → the tensor of attention weights of its last block."""
    found: dict[int, tuple[int, str]] = {}
    for node in model.graph.node:
        if match := _SOFTMAX.fullmatch(node.name):
            stage, block = int(match[1]), int(match[2])
            found[stage] = max(found.get(stage, (-1, "")), (block, node.output[0]))
    return {stage: name for stage, (_, name) in sorted(found.items())}


def _stages(artifact: Artifact, photo: Image8, threads: int) -> dict[int, Map]:
    """Return stage → weights (heads, queries, keys) float32, one run per stage."""
    import onnx

    if artifact.kind != "onnx":
        raise InputError(f"Expected an ONNX file, but {artifact.path} is none: export it first.")
    batch = read_onnx_file(artifact.path).inputs[0].shape[0]
    pixels = preprocess(photo, artifact.contract)
    pixels = np.repeat(pixels, batch if isinstance(batch, int) else 1, 0)
    graph = Graph(onnx.load(str(artifact.path)), pixels.shape)
    names = softmax_outputs(graph.model)
    if not names:
        raise InputError(
            f"Expected an ONNX file with the node names of segship, but {artifact.path} names no "
            "attention of a SegFormer: export the checkpoint with segship."
        )
    return {
        stage: graph.piece([name], threads=threads).run(pixels)[name][0]
        for stage, name in names.items()
    }


def _shapes(weights: dict[int, Map]) -> dict[int, tuple[int, ...]]:
    return {stage: item.shape for stage, item in weights.items()}


def _head(
    stage: int, head: int, weights: Sequence[NDArray[Any]], size_px: tuple[int, int]
) -> HeadMaps:
    queries, keys = weights[0].shape
    grid = key_grid(stage, queries, keys, size_px)
    maps = tuple((item.mean(axis=0) * keys).reshape(grid) for item in weights)
    moved = None
    if len(weights) == 2:
        moved = total_variation(weights[0], weights[1])
    return HeadMaps(stage + 1, head + 1, maps, moved)


def total_variation(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the mean over the rows of ½ Σ|p − q|, the rows (N,K) being distributions.

    >>> total_variation(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]]))
    0.5
    """
    return float(np.abs(one - other).sum(axis=1).mean() / 2)


def key_grid(stage: int, queries: int, keys: int, size_px: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of a stage's keys: the queries' grid, reduced by a whole factor.

    >>> key_grid(0, 90 * 120, 11 * 15, (360, 480)), key_grid(3, 12 * 15, 12 * 15, (360, 480))
    ((11, 15), (12, 15))

    Raises:
        InputError: no factor gives that many keys.
    """
    rows, columns = size_px
    for stride in _PATCH_STRIDES[: stage + 1]:
        rows, columns = math.ceil(rows / stride), math.ceil(columns / stride)
    for factor in range(1, min(rows, columns) + 1):
        if (rows * columns, (rows // factor) * (columns // factor)) == (queries, keys):
            return rows // factor, columns // factor
    raise InputError(
        f"Expected the attention of a SegFormer at {size_px[0]}x{size_px[1]}, but stage "
        f"{stage + 1} has {queries} queries and {keys} keys: only MiT encoders are supported."
    )
