"""Attention maps as pictures over the photo, the reference beside what is compared with it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..data.palette import Image8
from ..runtimes.depth_picture import depth_colours

if TYPE_CHECKING:
    from ..benchmark.attention import AttentionMaps, HeadMaps

_WIDTH_PX = 300
_QUALITY = 80
_FAINT, _FULL = 0.25, 0.85  # share of the colour over the photo at the lowest and highest value
_CHANGE = 0.2  # of the highest value of a head: the change that has the full colour
_MORE, _LESS = np.array((255.0, 140.0, 40.0)), np.array((60.0, 150.0, 255.0))


@dataclass(frozen=True)
class Overlay:
    """One picture: a data URI, its words, what stands below it."""

    uri: str
    alt: str
    caption: str


@dataclass(frozen=True)
class HeadPanel:
    """The pictures of one head."""

    title: str
    moved: str
    overlays: tuple[Overlay, ...]


@dataclass(frozen=True)
class AttentionSheet:
    """All heads of one image, grouped by stage."""

    image: str
    names: tuple[str, ...]
    stages: tuple[tuple[str, tuple[HeadPanel, ...]], ...]
    most: str


def attention_sheet(found: AttentionMaps) -> AttentionSheet:
    """Lay out the maps; the pictures of one head share one scale."""
    grey = _grey(found.photo)
    stages = dict.fromkeys(item.stage for item in found.heads)
    return AttentionSheet(
        found.image,
        found.names,
        tuple(
            (
                f"Stage {stage}",
                tuple(
                    _panel(item, found.names, grey) for item in found.heads if item.stage == stage
                ),
            )
            for stage in stages
        ),
        _most(found.heads),
    )


def _most(heads: Sequence[HeadMaps]) -> str:
    moved = [(item.moved, item) for item in heads if item.moved is not None]
    if not moved:
        return ""
    value, item = max(moved, key=lambda pair: pair[0])
    return f"Head {item.head} of stage {item.stage} moved most: {100 * value:.2f} %."


def _panel(item: HeadMaps, names: Sequence[str], grey: NDArray[np.float64]) -> HeadPanel:
    title = f"stage {item.stage}, head {item.head}"
    peak = max(float(values.max()) for values in item.maps)
    overlays = [
        Overlay(
            _uri(_coloured(values, peak, grey)),
            f"Attention of {title} in {name}, up to {values.max():.1f} times the mean",
            f"{name}, up to {values.max():.1f}×",
        )
        for values, name in zip(item.maps, names, strict=True)
    ]
    moved = ""
    if item.moved is not None:
        moved = f"{100 * item.moved:.2f} % moved"
        picture = _signed(item.maps[1] - item.maps[0], peak * _CHANGE, grey)
        overlays.append(Overlay(_uri(picture), f"Change of {title}: {moved}", "change"))
    return HeadPanel(f"Head {item.head}", moved, tuple(overlays))


def _grey(photo: Image8) -> NDArray[np.float64]:
    """Return the photo in grey (h,w,1), shrunk to the width of a picture."""
    from PIL import Image

    height = max(1, round(photo.shape[0] * _WIDTH_PX / photo.shape[1]))
    small = Image.fromarray(photo).convert("L").resize((_WIDTH_PX, height), Image.Resampling.BOX)
    return np.asarray(small, np.float64)[..., None]


def _coloured(values: NDArray[np.float32], peak: float, grey: NDArray[np.float64]) -> Image8:
    share = _stretched(values / peak if peak > 0 else values, grey).clip(0, 1)
    colour = depth_colours()[np.round(share * 255).astype(np.intp)].astype(np.float64)
    cover = (_FAINT + (_FULL - _FAINT) * share)[..., None]
    return _mixed(colour, cover, grey)


def _signed(change: NDArray[np.float32], largest: float, grey: NDArray[np.float64]) -> Image8:
    """Orange where the second artifact looks more, blue where it looks less."""
    share = _stretched(change / largest if largest > 0 else change, grey).clip(-1, 1)[..., None]
    return _mixed(np.where(share > 0, _MORE, _LESS), np.abs(share), grey * 0.5)


def _mixed(
    colour: NDArray[np.float64], cover: NDArray[np.float64], grey: NDArray[np.float64]
) -> Image8:
    mixed: Image8 = np.round(colour * cover + grey * (1 - cover)).clip(0, 255).astype(np.uint8)
    return mixed


def _stretched(values: NDArray[np.float32], grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a map resized bilinearly to the picture (h,w)."""
    from PIL import Image

    size = (grey.shape[1], grey.shape[0])
    return np.asarray(
        Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BILINEAR),
        np.float64,
    )


def _uri(picture: Image8) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
