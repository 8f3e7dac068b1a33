"""The description of a SegFormer: everything its tensors alone do not say."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import Any

from ..common.errors import InputError

STAGES = 4


class HeadKind(str, Enum):
    """How a head projects each stage before fusing them."""

    LINEAR = "linear"  # HF, NVlabs, TAO, SMP: the projection is affine, so the head folds whole
    BRANCH_RELU = "branch-relu"  # mmsegmentation: no bias, BN + ReLU per stage; only the fuse moves


@dataclass(frozen=True)
class Eps:
    """LayerNorm epsilon per site; no checkpoint stores it, so the flavour decides.

    HF ignores `config.layer_norm_eps` and uses 1e-5 everywhere (checked on 5.23).
    """

    patch: float = 1e-5
    sr: float = 1e-5
    block: float = 1e-5
    stage: float = 1e-5


@dataclass(frozen=True)
class HeadSpec:
    """One decode head: `width` is D, `classes` its output channels (1 for depth).

    `norm_after_relu` puts the BatchNorm of the fuse behind the ReLU (Zuppichini's tutorial).
    """

    name: str = "segmentation"
    classes: int = 19
    width: int = 256
    kind: HeadKind = HeadKind.LINEAR
    align_corners: bool = False
    fuse_bias: bool = False
    norm_after_relu: bool = False


@dataclass(frozen=True)
class Provenance:
    """Where a model came from, and the licence note its users must know."""

    flavour: str = "scratch"
    source: str = ""
    sha256: str = ""
    licence_note: str = ""


@dataclass(frozen=True)
class ModelSpec:
    """Architecture, numerics and origin of a canonical SegFormer.

    Widths, depths and the rest are per stage, index 0 at stride 4.
    """

    variant: str = "custom"
    widths: tuple[int, ...] = (32, 64, 160, 256)
    depths: tuple[int, ...] = (2, 2, 2, 2)
    attention_heads: tuple[int, ...] = (1, 2, 5, 8)
    sr_ratios: tuple[int, ...] = (8, 4, 2, 1)
    mlp_ratios: tuple[int, ...] = (4, 4, 4, 4)
    patch_sizes: tuple[int, ...] = (7, 3, 3, 3)
    strides: tuple[int, ...] = (4, 2, 2, 2)
    in_channels: int = 3
    heads: tuple[HeadSpec, ...] = (HeadSpec(),)
    eps: Eps = Eps()
    output_stride: int = 4
    output_align_corners: bool = False
    sr_at_ratio_1: bool = False
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        """Refuse a specification no SegFormer can have."""
        for name in ("widths", "depths", "attention_heads", "sr_ratios", "strides"):
            values = getattr(self, name)
            if len(values) != STAGES or min(values) < 1:
                raise InputError(f"Expected {STAGES} positive {name}, but got {values}.")
        for width, count in zip(self.widths, self.attention_heads, strict=True):
            if width % count:
                raise InputError(
                    f"Expected a stage width divisible by its attention heads, "
                    f"but got width {width} and {count} heads."
                )
        if self.output_stride not in (1, self.strides[0]):
            raise InputError(f"Expected output_stride 1 or 4, but got {self.output_stride}.")
        if not self.heads:
            raise InputError("Expected at least one head, but got none.")

    @property
    def total_stride(self) -> int:
        """Pixels of input per cell of the deepest stage (32 for B0 to B5)."""
        product = 1
        for stride in self.strides:
            product *= stride
        return product

    @property
    def head(self) -> HeadSpec:
        """The segmentation head, or the first head where none has that name."""
        return next((h for h in self.heads if h.name == "segmentation"), self.heads[0])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> ModelSpec:
        """Rebuild a specification from `to_json` output."""
        known = dict(values)
        known["heads"] = tuple(
            HeadSpec(**{**head, "kind": HeadKind(head["kind"])}) for head in known["heads"]
        )
        known["eps"] = Eps(**known["eps"])
        known["provenance"] = Provenance(**known["provenance"])
        for name, value in known.items():
            if isinstance(value, list):
                known[name] = tuple(value)
        return ModelSpec(**known)


_SMALL = (32, 64, 160, 256)
_LARGE = (64, 128, 320, 512)

# name: (stage widths, depths, head width D of the original heads); research/checkpoints.md 2
VARIANTS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "B0": (_SMALL, (2, 2, 2, 2), 256),
    "B1": (_LARGE, (2, 2, 2, 2), 256),
    "B2": (_LARGE, (3, 4, 6, 3), 768),
    "B3": (_LARGE, (3, 4, 18, 3), 768),
    "B4": (_LARGE, (3, 8, 27, 3), 768),
    "B5": (_LARGE, (3, 6, 40, 3), 768),
}


def variant_spec(name: str, classes: int = 19) -> ModelSpec:
    """Return the specification of variant `name` ("B0" to "B5") with the original head width.

    >>> variant_spec("B2").head.width
    768
    """
    if name not in VARIANTS:
        raise InputError(f"Expected a variant of {', '.join(VARIANTS)}, but got {name!r}.")
    widths, depths, head_width = VARIANTS[name]
    head = HeadSpec(classes=classes, width=head_width)
    return ModelSpec(variant=name, widths=widths, depths=depths, heads=(head,))


def name_variant(spec: ModelSpec) -> ModelSpec:
    """Return `spec` with the variant its first width and depths identify, else "custom"."""
    for name, (widths, depths, _) in VARIANTS.items():
        if spec.widths == widths and spec.depths == depths:
            return replace(spec, variant=name)
    return replace(spec, variant="custom")
