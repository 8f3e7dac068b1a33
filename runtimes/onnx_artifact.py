"""An ONNX file as an artifact: its contract, stated or assumed, its lineage, its hash."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.errors import InputError
from ..common.files import sha256_file
from ..data.contract import Contract
from .artifact import CONTRACT_KEY, LINEAGE_KEY, Artifact, Lineage
from .onnx_file import OnnxFile, read_onnx_file
from .session import TensorInfo, describe_heads

if TYPE_CHECKING:
    from ..models.checkpoints.settings import Settings


def read_onnx_artifact(
    path: Path, contract: Contract | None, settings: Settings | None
) -> Artifact:
    """Return the artifact of an ONNX file; `contract` and `settings` as in `load_artifact`.

    Raises:
        InputError: the file is damaged, is no segmentation model, or nobody says what it needs.
    """
    file = read_onnx_file(path)
    _refuse_other_models(path, file)
    lineage = _embedded_lineage(path, file)
    if contract is None:
        contract, assumed = _contract_of(path, file, settings)
        lineage = replace(lineage, assumptions=(*lineage.assumptions, *assumed))
    _refuse_other_outputs(path, file, contract)
    return Artifact(path, "onnx", contract, lineage, sha256_file(path))


def _contract_of(
    path: Path, file: OnnxFile, stated: Settings | None
) -> tuple[Contract, tuple[str, ...]]:
    """Return the embedded contract, else what shapes suggest, each as the sidecar corrects it."""
    from ..models.checkpoints.settings import Settings, apply_to_contract, read_sidecar
    from .foreign_onnx import assumed_contract, assumptions

    settings = (stated or Settings.none()).over(read_sidecar(path))
    if settings.spec:
        raise InputError(
            f"Expected only what concerns pixels and labels in {settings.origin}, but "
            f"{', '.join(settings.spec)} change a network, and {path} is built already."
        )
    if CONTRACT_KEY in file.metadata:
        embedded = Contract.from_json(file.metadata[CONTRACT_KEY])
        return apply_to_contract(embedded, settings), settings.notes()
    contract = assumed_contract(path, file, settings.contract)
    return contract, (*assumptions(path, contract, settings.contract), *settings.notes())


def _embedded_lineage(path: Path, file: OnnxFile) -> Lineage:
    if LINEAGE_KEY not in file.metadata:
        return Lineage(source=str(path), flavour="onnx")
    try:
        return Lineage.from_json(file.metadata[LINEAGE_KEY])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"Expected a segship lineage in {path}, but it cannot be read: export it again."
        ) from error


def _refuse_other_models(path: Path, file: OnnxFile) -> None:
    """Refuse an ONNX file that does not take images and return maps."""
    image = file.inputs[0] if len(file.inputs) == 1 else None
    takes_images = (
        image is not None
        and image.dtype in ("float32", "uint8")
        and len(image.shape) == 4
        and (image.shape[1] == 3 or isinstance(image.shape[1], str))
    )
    if not takes_images or not file.outputs or not all(map(_is_map, file.outputs)):
        raise InputError(
            f"Expected a segmentation model (one image input (batch, 3, height, width), maps as "
            f"outputs), but {path} has {_words(file.inputs)} → {_words(file.outputs)}."
        )


def _is_map(item: TensorInfo) -> bool:
    """Logits (B,K,h,w) in float, or labels (B,H,W) or (B,1,H,W) in integers."""
    rank = len(item.shape)
    if item.dtype in ("float32", "float16"):
        return rank == 4
    return item.dtype in ("uint8", "int32", "int64") and rank in (3, 4)


def _refuse_other_outputs(path: Path, file: OnnxFile, contract: Contract) -> None:
    """Refuse a file whose outputs are not the heads and the kind its contract names."""
    if len(file.outputs) == len(contract.heads):
        heads, _ = describe_heads(file.outputs, contract.heads)
        if all(
            item.dtype.startswith("float") != contract.returns_labels(item.name) for item in heads
        ):
            return
    raise InputError(
        f"Expected {contract.output.value} of {len(contract.heads)} head(s) as the contract "
        f"says, but {path} returns {_words(file.outputs)}: export it again."
    )


def _words(items: tuple[TensorInfo, ...]) -> str:
    return ", ".join(f"{i.name} {i.dtype}{list(i.shape)}" for i in items) or "nothing"
