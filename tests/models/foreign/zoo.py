"""Every foreign network with what a test must know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .course import CourseNet, Segformer3dNet
from .mmseg import MmsegNet
from .nvlabs import NvlabsNet, SithuNet
from .smp import SmpNet
from .tao import TaoNet
from .tiny import quietened, shaken
from .zuppichini import ZuppichiniNet

ODD, EVEN = (75, 133), (64, 96)


@dataclass(frozen=True)
class Foreign:
    """How to build one network, the size it can run at, and where its weights are.

    `feeds_norms` finds the parameters in front of a LayerNorm, `pairs` the fused key and value,
    `fuse` the convolution over the stacked branches, `norms` the LayerNorms of each of the four
    sites; all are searched in names. `mistakes` build the same parameters with a wrong forward.
    """

    flavour: str
    build: Callable[[], nn.Module]
    feeds_norms: str
    pairs: str
    fuse: str
    norms: dict[str, str]
    size_px: tuple[int, int] = ODD
    heads: tuple[str, ...] = ("segmentation",)
    mistakes: dict[str, Callable[[], nn.Module]] = field(default_factory=dict)

    def net(self, quiet: bool = False) -> nn.Module:
        """Return the network with shaken weights; `quiet` ones make every epsilon count."""
        with torch.random.fork_rng():
            torch.manual_seed(7)
            net = shaken(self.build())
        return quietened(net, self.feeds_norms) if quiet else net


MIT_FEEDS_NORMS = r"(patch_embed\d\.|attn\.(sr|proj)\.|mlp\.fc2\.)"
_COURSE = r"(patch_embed\.|attn\.(sr|proj)\.|ffn\.fc2\.)"
_MMSEG = r"(layers\.\d\.0\.|attn\.sr\.|out_proj\.|ffn\.layers\.4\.)"
_ZUPPICHINI = r"(overlap_patch_merge\.|reducer\.0\.|out_proj\.|1\.fn\.1\.3\.)"

_MIT_NORMS = {
    "patch": r"patch_embed\d\.norm$",
    "sr": r"attn\.norm$",
    "block": r"block\d\.\d\.norm[12]$",
    "stage": r"(backbone|encoder)\.norm\d$",
}
_COURSE_NORMS = {
    "patch": r"patch_embed\.norm$",
    "sr": r"attn\.norm$",
    "block": r"blocks\.\d\.norm[12]$",
    "stage": r"stages\.\d\.norm$",
}
_MMSEG_NORMS = {
    "patch": r"layers\.\d\.0\.norm$",
    "sr": r"attn\.norm$",
    "block": r"layers\.\d\.1\.\d\.norm[12]$",
    "stage": r"layers\.\d\.2$",
}
_ZUPPICHINI_NORMS = {
    "patch": r"overlap_patch_merge\.1$",
    "sr": r"reducer\.1$",
    "block": r"\.fn\.0$",
    "stage": r"stages\.\d\.norm$",
}


def _mit(flavour: str, build: Callable[[], nn.Module], fuse: str, **more: Any) -> Foreign:
    """Describe a network around NVlabs' encoder."""
    return Foreign(flavour, build, MIT_FEEDS_NORMS, r"\.kv\.", fuse, _MIT_NORMS, **more)


def _course(flavour: str, build: Callable[[], nn.Module], **more: Any) -> Foreign:
    return Foreign(
        flavour, build, _COURSE, r"\.kv\.", r"linear_fuse\.weight", _COURSE_NORMS, **more
    )


def _zuppichini(build: Callable[[], nn.Module], **more: Any) -> Foreign:
    return Foreign(
        "zuppichini",
        build,
        _ZUPPICHINI,
        "in_proj_",
        r"fuse\.0\.weight",
        _ZUPPICHINI_NORMS,
        EVEN,
        **more,
    )


ZOO = {
    "nvlabs": _mit("nvlabs", NvlabsNet, r"linear_fuse\.conv\.weight"),
    "sithu": _mit("sithu", SithuNet, r"linear_fuse\.conv\.weight"),
    "tao": _mit("tao6", TaoNet, r"linear_fuse\.0\.weight"),
    "smp": _mit(
        "smp",
        SmpNet,
        r"fuse_stage\.0\.weight",
        size_px=EVEN,
        mistakes={"corners": lambda: SmpNet(corners=False)},
    ),
    "mmseg": Foreign(
        "mmseg", MmsegNet, _MMSEG, "in_proj_", r"fusion_conv\.conv\.weight", _MMSEG_NORMS
    ),
    "course": _course("course", CourseNet),
    "segformer3d": _course("segformer3d", Segformer3dNet, heads=("segmentation", "depth")),
    "zuppichini": _zuppichini(
        ZuppichiniNet,
        mistakes={
            "corners": lambda: ZuppichiniNet(corners=False),
            "norm-first": lambda: ZuppichiniNet(relu_first=False),
        },
    ),
    "zuppichini-bias": _zuppichini(lambda: ZuppichiniNet(fuse_bias=True)),
}


def outputs_of(foreign: Foreign, net: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """Return what `net` computes, by head."""
    with torch.inference_mode():
        given = net(image)
    tensors = given if isinstance(given, tuple) else (given,)
    return dict(zip(foreign.heads, tensors, strict=True))


def saved(state: dict[str, Tensor], folder: Path) -> Path:
    """Write `state` as people do, with torch.save, and return the file."""
    path = folder / "checkpoint.pth"
    torch.save(state, path)
    return path
