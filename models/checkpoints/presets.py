"""Preprocessing people train with, by name: `--set preset=NAME`.

No tensor says how its images were prepared. Every flavour has a preset its authors use; the notes
of a checkpoint say which one was taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ...common.errors import InputError
from ...data.contract import IMAGENET_MEAN, IMAGENET_STD, ChannelOrder, Resample

_HALF = (0.5, 0.5, 0.5)
_COURSE_MEAN = (0.485, 0.56, 0.406)  # the course trains with 0.56 where ImageNet has 0.456


def _fields(**values: Any) -> Mapping[str, Any]:
    """Return contract fields: ImageNet's mean and std, bilinear, unless said otherwise."""
    common = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "resample": Resample.BILINEAR}
    return MappingProxyType({**common, "scale": 1 / 255, **values})


_DEPTH = {"depth_scale": 10.0, "depth_abs": True}


@dataclass(frozen=True)
class Preset:
    """A named way to prepare images: fields of `Contract`, and who uses it."""

    name: str
    title: str
    fields: Mapping[str, Any] = field(default_factory=_fields)


PRESETS: tuple[Preset, ...] = (
    Preset("imagenet", "ImageNet mean and std, bilinear, RGB"),
    Preset(
        "course",
        "the course's mean 0.485, 0.56, 0.406 (a slip its training kept), ImageNet std, RGB",
        _fields(mean=_COURSE_MEAN),
    ),
    Preset(
        "tao",
        "mean and std 0.5 (pixels from -1 to 1), bicubic, RGB: the defaults of TAO 6",
        _fields(mean=_HALF, std=_HALF, resample=Resample.BICUBIC),
    ),
    Preset(
        "div255-nearest",
        "pixels / 255 and no more, nearest: ImageSegComp's data loader",
        _fields(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), resample=Resample.NEAREST),
    ),
    Preset(
        "segformer3d",
        "the course's mean 0.485, 0.56, 0.406, RGB, depth times 10 without sign",
        _fields(mean=_COURSE_MEAN, **_DEPTH),
    ),
    Preset(
        "segformer3d-video",
        "as segformer3d, but BGR frames as Segformer3D's image and video scripts feed",
        _fields(mean=_COURSE_MEAN, channel_order=ChannelOrder.BGR, **_DEPTH),
    ),
)


def preset_named(name: str) -> Preset:
    """Return a preset by its name.

    >>> preset_named("tao").fields["mean"]
    (0.5, 0.5, 0.5)

    Raises:
        InputError: there is none of that name.
    """
    for preset in PRESETS:
        if preset.name == name:
            return preset
    names = ", ".join(preset.name for preset in PRESETS)
    raise InputError(f"Expected a preset of {names}, but got {name!r}: correct preset.")
