"""Checkpoint → ONNX, rewritten unless told otherwise, with its contract, lineage and verdict."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .. import __version__
from ..calibration.sampling import choose_images
from ..common.errors import CheckFailedError, InputError
from ..common.files import atomic_path, sha256_file
from ..common.sizes import MIN_SIDE_PX
from ..data.contract import Contract, InputKind, OutputKind
from ..data.loader import prepare
from ..data.spec import open_dataset
from ..models.checkpoints import load_checkpoint
from ..models.checkpoints.checkpoint import Checkpoint
from ..models.foreign_module import ForeignModule
from ..models.segformer import SegFormer
from ..runtimes.artifact import Artifact, Lineage, PassNote
from .exact import exact_rewrites
from .graph import finish_graph
from .parity import Parity, check_parity
from .passes import Pass
from .wrapper import Wrapped, output_axes, wrapped

OPSETS = (17, 18, 19, 20)
# 17 is the lowest with LayerNormalization as one operator and the highest that TensorRT 8.6 and
# ONNX Runtime's blocked Resize take: docs/decisions/0003-opset-17.md has the measurement.
DEFAULT_OPSET = 17


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote and whether it equals the checkpoint."""

    artifact: Artifact
    parity: Parity
    passes: tuple[PassNote, ...]
    operators: dict[str, int]
    seconds: float
    notes: tuple[str, ...] = ()


def export(
    source: str | Path | Checkpoint,
    output: str | Path,
    *,
    size_px: tuple[int, int] | None = None,
    batch: int = 1,
    dynamic: bool = False,
    output_kind: OutputKind = OutputKind.LOGITS,
    input_kind: InputKind = InputKind.FLOAT32,
    fold: bool = True,
    opset: int = DEFAULT_OPSET,
    data: str | None = None,
    images: int = 4,
    scaling: Sequence[Pass] = (),
) -> ExportReport:
    """Export a checkpoint to ONNX and check the file against torch.

    Args:
        source: checkpoint directory, file or hub id, or one already loaded.
        output: the ONNX file to write; its folder must exist.
        size_px: (height, width) of the input; the checkpoint's own where None.
        batch: batch size of a static export.
        dynamic: leave batch, height and width free.
        output_kind: logits at 1/4, logits at full size, or labels.
        input_kind: normalised float32 or raw uint8 (normalisation inside the graph).
        fold: apply the exact rewrites; False gives the plain graph.
        opset: 17, 18, 19 or 20.
        data: data specification; the check then runs on real images as well.
        images: how many of them, chosen at random with a fixed seed.
        scaling: exact scaling passes that run among the rewrites, see `exact_rewrites`.

    Raises:
        InputError: the request or the checkpoint is wrong; nothing is written.
        CheckFailedError: the file was written and kept, and differs from torch.
    """
    started = time.perf_counter()
    refuse_bad_request(size_px, batch, opset, dynamic)
    target = Path(output)
    checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source)
    contract = _contract(checkpoint.contract, size_px, input_kind, output_kind)
    model, passes = _rewritten(checkpoint.model, fold, scaling)
    lineage = _lineage(checkpoint, passes)
    shape = (1 if dynamic else batch, 3, *contract.size_px)
    real = real_images(data, images, contract, shape[0])
    with atomic_path(target) as temporary:
        trace(wrapped(model, contract), temporary, shape, opset, dynamic)
        operators = finish_graph(temporary, contract, lineage)
    parity = verify(checkpoint.model, target, _checked_shapes(shape, dynamic), real)
    artifact = Artifact(target, "onnx", contract, lineage, sha256_file(target))
    seconds = time.perf_counter() - started
    notes = (*checkpoint.notes, *_notes(checkpoint.contract, contract))
    report = ExportReport(artifact, parity, passes, operators, seconds, notes)
    if not parity.passed:
        raise CheckFailedError(
            f"Expected {target} to equal the checkpoint, but it {parity}: "
            "the file was kept for inspection; try --no-fold or another --opset."
        )
    return report


def refuse_bad_request(
    size_px: tuple[int, int] | None, batch: int, opset: int, dynamic: bool
) -> None:
    """Refuse a size, batch or opset no export has.

    Raises:
        InputError: one of them.
    """
    if opset not in OPSETS:
        raise InputError(f"Expected an opset of {OPSETS}, but got {opset}.")
    if size_px is not None and min(size_px) < MIN_SIDE_PX:
        raise InputError(
            f"Expected both sides of the input to be at least {MIN_SIDE_PX} px "
            f"(the encoder divides by 32), but got {size_px[0]}x{size_px[1]}."
        )
    if batch < 1 or (dynamic and batch != 1):
        raise InputError(
            f"Expected a batch of at least 1, and none with --dynamic, but got {batch}."
        )


def _contract(
    contract: Contract,
    size_px: tuple[int, int] | None,
    input_kind: InputKind,
    output_kind: OutputKind,
) -> Contract:
    sized = contract if size_px is None else contract.with_size(*size_px)
    if min(sized.size_px) < MIN_SIDE_PX:
        raise InputError(
            f"Expected a model input of at least {MIN_SIDE_PX} px, but the checkpoint says "
            f"{sized.size_px}: pass --size HEIGHTxWIDTH."
        )
    return replace(sized, input=input_kind, output=output_kind)


def _notes(before: Contract, after: Contract) -> tuple[str, ...]:
    """Say where the file returns something else than the checkpoint does."""
    if before.output is OutputKind.LOGITS_FULL and after.output is OutputKind.LOGITS:
        return (
            "the checkpoint returns logits at full size, this file those at 1/4 they are made of: "
            "labels at the input's size are the same, at other sizes a few pixels on edges differ; "
            "--output logits-full keeps the checkpoint's",
        )
    return ()


def _rewritten(
    model: SegFormer, fold: bool, scaling: Sequence[Pass]
) -> tuple[SegFormer, tuple[PassNote, ...]]:
    if not fold:
        return model, ()
    pipeline = exact_rewrites(scaling)
    return pipeline.run(model).model, pipeline.record


def _lineage(checkpoint: Checkpoint, passes: tuple[PassNote, ...]) -> Lineage:
    origin = checkpoint.spec.provenance
    versions = {name: version(name) for name in ("torch", "onnx")}
    return Lineage(
        source=origin.source,
        source_sha256=origin.sha256,
        flavour=origin.flavour,
        variant=checkpoint.spec.variant,
        parameters=sum(item.numel() for item in checkpoint.model.parameters()),
        passes=passes,
        licence_note=origin.licence_note,
        tool_versions={"segship": __version__, **versions},
    )


def trace(module: Wrapped, path: Path, shape: tuple[int, ...], opset: int, dynamic: bool) -> None:
    """Write the ONNX graph with torch's tracing exporter (docs/decisions/0002-exporter.md)."""
    import torch

    raw = module.contract.input is InputKind.UINT8
    # Two images while tracing keep the batch free: a size of 1 invites broadcasting shortcuts.
    traced = (2, *shape[1:]) if dynamic else shape
    example = torch.zeros(traced, dtype=torch.uint8 if raw else torch.float32)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's deprecation and tracer notes
        torch.onnx.export(
            module.eval(),
            (example,),
            str(path),
            input_names=["pixels"],
            output_names=list(module.contract.heads),
            dynamic_axes=output_axes(module.contract) if dynamic else None,
            opset_version=opset,
            dynamo=False,
        )


def _checked_shapes(shape: tuple[int, ...], dynamic: bool) -> tuple[tuple[int, ...], ...]:
    """The exported shape; for a dynamic graph also an odd size and a batch of two."""
    return (shape, (2, 3, 75, 133)) if dynamic else (shape,)


def real_images(
    data: str | None, count: int, contract: Contract, batch: int
) -> tuple[NDArray[Any], ...]:
    """Return prepared pixels (batch,3,H,W) of `count` images, each repeated over the batch."""
    if data is None:
        return ()
    import numpy as np

    dataset = open_dataset(data, contract=contract)
    chosen = choose_images(len(dataset), count)
    return tuple(
        np.repeat(prepare(dataset, index, contract).pixels, batch, axis=0) for index in chosen
    )


def verify(
    model: SegFormer | ForeignModule,
    path: Path,
    shapes: tuple[tuple[int, ...], ...],
    images: tuple[NDArray[Any], ...],
) -> Parity:
    """Return whether the ONNX file at `path` computes what `model` does, on ONNX Runtime."""
    from ..runtimes.open import open_session

    with open_session(path, runtime="onnxruntime", precision="fp32") as session:
        return check_parity(model, session, shapes, images=images)
