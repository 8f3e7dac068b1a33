"""What a checkpoint or an artifact is, read without running it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.contract import Contract
from ..runtimes.artifact import PassNote

if TYPE_CHECKING:
    from ..models.checkpoints.settings import Settings
    from ..models.spec import HeadSpec, ModelSpec


@dataclass(frozen=True)
class PartCount:
    """Parameters and GMACs of one part of a model."""

    name: str
    parameters: int
    gmacs: float


@dataclass(frozen=True)
class Inspection:
    """The answer of `segship inspect`; `gmacs` and `parts` are per image of `size_px`.

    `heads` holds one line per decode head, `network` what the tensors do not say (LayerNorm eps
    per site, attention heads, size of the output), `passes` what was done to an exported graph.
    """

    source: str
    kind: str
    flavour: str
    variant: str
    sha256: str
    size_px: tuple[int, int]
    parameters: int
    gmacs: float | None
    parts: tuple[PartCount, ...]
    heads: tuple[str, ...]
    network: tuple[str, ...]
    contract: Contract
    passes: tuple[PassNote, ...]
    licence_note: str
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; the contract as it is written into artifacts."""
        return {**asdict(self), "contract": json.loads(self.contract.to_json())}


def inspect(
    source: str | Path,
    size_px: tuple[int, int] | None = None,
    *,
    settings: Settings | None = None,
) -> Inspection:
    """Say what `source` is: a checkpoint in any flavour, or an ONNX file.

    GMACs are counted for one image of `size_px` (height, width; None: the contract's size).
    `settings` go over the sidecar's.

    Raises:
        InputError: `source` is neither, or damaged.
    """
    from ..models.checkpoints import looks_like_checkpoint

    if looks_like_checkpoint(source):
        return _inspect_checkpoint(str(source), size_px, settings)
    return _inspect_onnx(str(source), size_px, settings)


def _inspect_checkpoint(
    source: str, size_px: tuple[int, int] | None, settings: Settings | None
) -> Inspection:
    from ..models.checkpoints import load_checkpoint
    from ..models.inspect import inspect_model

    checkpoint = load_checkpoint(source, settings=settings)
    spec = checkpoint.spec
    cost = inspect_model(checkpoint.model, size_px or checkpoint.contract.size_px)
    return Inspection(
        source=source,
        kind="checkpoint",
        flavour=spec.provenance.flavour,
        variant=spec.variant,
        sha256=spec.provenance.sha256,
        size_px=cost.size_px,
        parameters=cost.parameters,
        gmacs=cost.gmacs,
        parts=tuple(PartCount(part.name, part.parameters, part.gmacs) for part in cost.parts),
        heads=tuple(map(_head_words, spec.heads)),
        network=_network_words(spec),
        contract=checkpoint.contract,
        passes=(),
        licence_note=spec.provenance.licence_note,
        notes=checkpoint.notes,
    )


def _inspect_onnx(
    source: str, size_px: tuple[int, int] | None, settings: Settings | None
) -> Inspection:
    from ..runtimes.open import load_artifact
    from .onnx_cost import onnx_cost

    artifact = load_artifact(source, settings=settings)
    size_px = size_px or artifact.contract.size_px
    cost = onnx_cost(artifact.path, (1, 3, *size_px))
    lineage = artifact.lineage
    return Inspection(
        source=source,
        kind=artifact.kind,
        flavour=lineage.flavour,
        variant=lineage.variant,
        sha256=artifact.sha256,
        size_px=size_px,
        parameters=cost.parameters,
        gmacs=cost.gmacs,
        parts=(),
        heads=artifact.contract.heads,
        network=(),
        contract=artifact.contract,
        passes=lineage.passes,
        licence_note=lineage.licence_note,
        notes=lineage.assumptions,
    )


def _head_words(head: HeadSpec) -> str:
    """Return kind, width, channels and what is unusual about a head."""
    unusual = {
        "align_corners": head.align_corners,
        "bias in the fuse": head.fuse_bias,
        "BatchNorm after the ReLU": head.norm_after_relu,
    }
    words = [f"width {head.width}", f"{head.classes} channels"]
    words += [name for name, there in unusual.items() if there]
    return f"{head.name}: {head.kind.value}, {', '.join(words)}"


def _network_words(spec: ModelSpec) -> tuple[str, ...]:
    """Return what no tensor of a checkpoint says; --set changes each of them."""
    eps = spec.eps
    sites = f"patch {eps.patch:g}, sr {eps.sr:g}, block {eps.block:g}, stage {eps.stage:g}"
    corners = "on" if spec.output_align_corners else "off"
    counts = ", ".join(map(str, spec.attention_heads))
    size = "the input's size" if spec.output_stride == 1 else "a quarter of the input"
    return (
        f"LayerNorm eps {sites}",
        f"attention heads {counts}",
        f"output at {size}, align_corners {corners}",
    )
