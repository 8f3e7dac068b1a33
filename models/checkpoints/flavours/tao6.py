"""NVIDIA TAO 6 and later (Lightning `.pth`): NVlabs' encoder, a fuse convolution with a bias."""

from __future__ import annotations

from ..flavour import ORIGINAL_EPS, Flavour
from ..layout import Layout, under
from .mix_transformer import encoder_rows

_HEAD = {
    "linear_c{s}.proj": "project.{i}",
    "linear_fuse.0": "fuse",
    "linear_fuse.1": "bn",
    "linear_pred": "classifier",
}

TAO6 = Flavour(
    name="tao6",
    title="NVIDIA TAO 6",
    layouts=(Layout(*encoder_rows("backbone."), *under("heads.segmentation.", "decoder.", _HEAD)),),
    marks=("decoder.linear_pred.", "decoder.linear_fuse.0.", "backbone.patch_embed1."),
    roots=("backbone.", "decoder."),
    numerics={"eps": ORIGINAL_EPS},
    head={"fuse_bias": True},
    preset="tao",
    size_px=(256, 256),
    nvidia=True,
)
