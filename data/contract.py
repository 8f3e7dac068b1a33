"""The contract: how pixels become tensors and tensors become labels.

It is written into every artifact and read back from it; no command asks again for what it says.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from typing import Any

from ..common.errors import InputError

CONTRACT_VERSION = 1
DEPTH_HEAD = "depth"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ResizeRule(str, Enum):
    """What happens to an image whose size is not the model's input size."""

    STRETCH = "stretch"  # to exactly size_px, aspect ignored (the HF image processor)
    NONE = "none"  # images are fed as stored; size_px is a hint only


class Resample(str, Enum):
    """The filter an image is resized with (Pillow's names)."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


class ChannelOrder(str, Enum):
    """Order of the three channels the network was trained on."""

    RGB = "rgb"
    BGR = "bgr"


class InputKind(str, Enum):
    """What an artifact takes: normalised float32, or raw uint8 (normalisation inside)."""

    FLOAT32 = "float32"
    UINT8 = "uint8"


class OutputKind(str, Enum):
    """What an artifact returns per segmentation head."""

    LOGITS = "logits"  # float32 (B,K,H/4,W/4)
    LOGITS_FULL = "logits-full"  # float32 (B,K,H,W)
    LABELS = "labels"  # uint8 (B,H,W); int32 where K > 256


@dataclass(frozen=True)
class Contract:
    """Preprocessing, output meaning and label space of one model or artifact.

    `size_px` is (height, width). Pixels become `(x * scale - mean) / std` per channel, x in
    0..255, channels in `channel_order`, layout (B,3,H,W) for both input kinds. `ignore_index` is
    the label that is never scored. `threshold` is set for one-class heads: a pixel is foreground
    where sigmoid(logit) > threshold. `reduce_labels` says that raw label 0 means "ignore" and
    the others are shifted down by one (ADE20K). `label_map` holds pairs (label in the data,
    label of the model) for data of another label space; labels it does not list are ignored.

    A head called "depth" returns `depth_scale` times the depth of the data set; with `depth_abs`
    its sign means nothing and is dropped. `depth_range` bounds the colour map of its pictures, in
    the head's own unit (before the division by `depth_scale`).
    """

    size_px: tuple[int, int] = (512, 512)
    resize: ResizeRule = ResizeRule.STRETCH
    resample: Resample = Resample.BILINEAR
    channel_order: ChannelOrder = ChannelOrder.RGB
    scale: float = 1 / 255
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    input: InputKind = InputKind.FLOAT32
    output: OutputKind = OutputKind.LOGITS
    align_corners: bool = False
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    ignore_index: int = 255
    reduce_labels: bool = False
    label_map: tuple[tuple[int, int], ...] = ()
    threshold: float | None = None
    heads: tuple[str, ...] = ("segmentation",)
    depth_scale: float = 1.0
    depth_abs: bool = False
    depth_range: tuple[float, float] = (0.0, 4.0)
    version: int = CONTRACT_VERSION

    def __post_init__(self) -> None:
        """Refuse values no preprocessing can follow."""
        if min(self.size_px) < 1:
            raise InputError(f"Expected a positive input size, but got {self.size_px}.")
        if min(self.std) <= 0 or self.scale <= 0:
            raise InputError(
                f"Expected positive std and scale, but got {self.std} and {self.scale}."
            )
        if self.depth_scale <= 0 or self.depth_range[0] >= self.depth_range[1]:
            raise InputError(
                f"Expected a positive depth_scale and a rising depth_range, but got "
                f"{self.depth_scale} and {self.depth_range}."
            )
        if self.palette and len(self.palette) != len(self.classes):
            raise InputError(
                f"Expected one colour per class ({len(self.classes)}), "
                f"but got {len(self.palette)} colours."
            )

    @property
    def num_classes(self) -> int:
        """Number of labels a prediction can hold (2 for a one-class head)."""
        return max(2, len(self.classes)) if self.threshold is not None else len(self.classes)

    def returns_labels(self, head: str) -> bool:
        """Say whether the output of `head` is a label map; depth never is.

        >>> contract = Contract(output=OutputKind.LABELS, heads=("segmentation", "depth"))
        >>> contract.returns_labels("segmentation"), contract.returns_labels("depth")
        (True, False)
        """
        return self.output is OutputKind.LABELS and head != DEPTH_HEAD

    def with_size(self, height_px: int, width_px: int) -> Contract:
        """Return the contract for another input size."""
        return replace(self, size_px=(height_px, width_px), resize=ResizeRule.STRETCH)

    def to_json(self) -> str:
        """Return the contract as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Contract:
        """Rebuild a contract; refuse unknown fields and versions.

        >>> Contract.from_json(Contract(classes=("a", "b")).to_json()).classes
        ('a', 'b')
        """
        try:
            values: dict[str, Any] = json.loads(text)
            version = values["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"Expected a segship contract in JSON, but got {text[:60]!r}."
            ) from error
        known = {item.name for item in fields(Contract)}
        if version != CONTRACT_VERSION or set(values) - known:
            raise InputError(
                f"Expected contract version {CONTRACT_VERSION}, but got version {version} with "
                f"unknown fields {sorted(set(values) - known)}: export again with this segship."
            )
        try:
            return Contract(**{name: _typed(name, value) for name, value in values.items()})
        except (ValueError, TypeError) as error:
            raise InputError(
                f"Expected values a contract can hold, but {error}: export again."
            ) from error


_ENUMS: dict[str, type[Enum]] = {
    "resize": ResizeRule,
    "resample": Resample,
    "channel_order": ChannelOrder,
    "input": InputKind,
    "output": OutputKind,
}


def _typed(name: str, value: Any) -> Any:
    """Return a JSON value as the type the contract's field has."""
    if name in _ENUMS:
        return _ENUMS[name](value)
    if isinstance(value, list):
        return tuple(tuple(item) if isinstance(item, list) else item for item in value)
    return value
