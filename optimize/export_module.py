"""Weights and a torch class of the user → ONNX, traced as it is and checked against torch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from .. import __version__
from ..common.errors import CheckFailedError, InputError, SegshipError
from ..common.files import atomic_path, sha256_file
from ..data.contract import Contract, InputKind, OutputKind, ResizeRule
from ..models.checkpoints.messages import one_line
from ..models.checkpoints.presets import preset_named
from ..models.checkpoints.settings import Settings, read_sidecar
from ..models.foreign_module import ForeignModule, load_network
from ..runtimes.artifact import Artifact, Lineage
from ..runtimes.foreign_onnx import assumptions
from .export import (
    DEFAULT_OPSET,
    ExportReport,
    real_images,
    refuse_bad_request,
    trace,
    verify,
)
from .graph import finish_graph
from .module_probe import completed_contract, is_full_size, probe
from .parity import Parity
from .wrapper import wrapped

_DEFAULT_SIZE_PX = (512, 512)
_OTHER_SIZE_PX = 64  # added to each side for the second size a dynamic graph is checked at


def export_module(
    weights: str | Path,
    module: str,
    output: str | Path,
    *,
    arguments: str | None = None,
    contract: Contract | None = None,
    settings: Settings | None = None,
    size_px: tuple[int, int] | None = None,
    batch: int = 1,
    dynamic: bool = False,
    output_kind: OutputKind = OutputKind.LOGITS,
    input_kind: InputKind = InputKind.FLOAT32,
    opset: int = DEFAULT_OPSET,
    data: str | None = None,
    images: int = 4,
) -> ExportReport:
    """Export a torch network no reader knows; **executes the file `module` names**.

    Nothing is rewritten. The network is run once to see what it returns: (B,K,h,w) per head, at
    1/4, at full size or at another stride. Logits at full size stay so, `output_kind` or not.

    Args:
        weights: safetensors or torch file; read as data, never executed.
        module: "FILE.py:CLASS".
        output: the ONNX file to write; its folder must exist.
        arguments: keyword arguments of CLASS as a JSON object.
        contract: how pixels become tensors and tensors labels; what nobody stated is assumed
            from the number of output channels, and said in `lineage.assumptions`.
        settings: what `--set` states; the sidecar of `weights` is read as well.
        size_px: (height, width) of the input; the contract's where None.
        batch: as in `optimize.export.export`, like the arguments below.
        dynamic: see `batch`.
        output_kind: see `batch`.
        input_kind: see `batch`.
        opset: see `batch`.
        data: see `batch`.
        images: see `batch`.

    Raises:
        InputError: the file, class, weights, output or request are wrong; nothing is written.
        CheckFailedError: the file was written and kept, and differs from torch.
    """
    started = time.perf_counter()
    refuse_bad_request(size_px, batch, opset, dynamic)
    source, target = Path(weights), Path(output)
    stated = _stated(source, settings)
    network = load_network(source, module, arguments)
    contract = _sized(contract or _contract(stated), size_px)
    probed = probe(network, contract)
    model = ForeignModule(
        network, contract.heads, full_size=is_full_size(probed, contract.size_px)
    ).eval()
    contract = completed_contract(
        contract, probed, stated, output_kind, input_kind, model.full_size
    )
    lineage = _lineage(source, module, network, assumptions(source, contract, stated))
    shape = (1 if dynamic else batch, 3, *contract.size_px)
    real = real_images(data, images, contract, shape[0])
    with atomic_path(target) as temporary:
        _traced(model, contract, temporary, shape, opset, dynamic)
        operators = finish_graph(temporary, contract, lineage)
    parity = _checked(model, target, _shapes(shape, dynamic), real)
    artifact = Artifact(target, "onnx", contract, lineage, sha256_file(target))
    return ExportReport(artifact, parity, (), operators, time.perf_counter() - started)


def _stated(source: Path, settings: Settings | None) -> dict[str, Any]:
    """Return the contract fields the sidecar and `--set` state."""
    found = (settings or Settings.none()).over(read_sidecar(source))
    if found.spec or found.flavour:
        raise InputError(
            f"Expected only what concerns pixels and labels from {found.origin}, but "
            f"{', '.join([*found.spec, *(['flavour'] if found.flavour else [])])} concerns the "
            "network, which --module builds."
        )
    preset = preset_named(found.preset).fields if found.preset else {}
    return {**preset, **found.contract}


def _contract(stated: Mapping[str, Any]) -> Contract:
    fields = {"size_px": _DEFAULT_SIZE_PX, "resize": ResizeRule.STRETCH, **stated}
    return Contract(**fields)


def _sized(contract: Contract, size_px: tuple[int, int] | None) -> Contract:
    return contract if size_px is None else contract.with_size(*size_px)


def _traced(
    model: ForeignModule,
    contract: Contract,
    path: Path,
    shape: tuple[int, ...],
    opset: int,
    dynamic: bool,
) -> None:
    """Write the graph; what the exporter or the user's forward raises becomes one line."""
    try:
        trace(wrapped(model, contract), path, shape, opset, dynamic)
    except SegshipError:
        raise
    except Exception as error:
        raise InputError(
            f"Expected a network torch can export to ONNX opset {opset}, but "
            f"{type(error).__name__}: {one_line(error)}: try another --opset."
        ) from error


def _lineage(source: Path, module: str, network: nn.Module, assumed: tuple[str, ...]) -> Lineage:
    versions = {name: version(name) for name in ("torch", "onnx")}
    return Lineage(
        source=str(source),
        source_sha256=sha256_file(source),
        flavour="module",
        variant=module.rpartition(":")[2],
        parameters=sum(item.numel() for item in network.parameters()),
        tool_versions={"segship": __version__, **versions},
        assumptions=assumed,
    )


def _shapes(shape: tuple[int, ...], dynamic: bool) -> tuple[tuple[int, ...], ...]:
    """The exported shape; for a dynamic graph also a larger size and a batch of two."""
    height, width = shape[2:]
    larger = (2, 3, height + _OTHER_SIZE_PX, width + 2 * _OTHER_SIZE_PX)
    return (shape, larger) if dynamic else (shape,)


def _checked(
    model: ForeignModule, target: Path, shapes: tuple[tuple[int, ...], ...], real: tuple[Any, ...]
) -> Parity:
    try:
        parity = verify(model, target, shapes, real)
    except SegshipError:
        raise
    except Exception as error:  # ONNX Runtime's or the network's own at another size
        raise CheckFailedError(
            f"Expected {target} to run at {shapes[-1]}, but {type(error).__name__}: "
            f"{one_line(error)}: the file was kept; export without --dynamic."
        ) from error
    if not parity.passed:
        raise CheckFailedError(
            f"Expected {target} to equal the network in torch, but it {parity}: the file was "
            "kept for inspection; try another --opset, or without --dynamic."
        )
    return parity
