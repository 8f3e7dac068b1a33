"""segmentation_models_pytorch `Segformer` with a Mix Transformer encoder."""

from __future__ import annotations

from ..flavour import ORIGINAL_EPS, Flavour
from ..layout import Layout, under
from .mix_transformer import encoder_rows

_HEAD = {
    "decoder.mlp_stage.{k}.linear": "project.{i}",  # k = 0 is the deepest stage
    "decoder.fuse_stage.0": "fuse",
    "decoder.fuse_stage.1": "bn",
    "segmentation_head.0": "classifier",
}

SMP = Flavour(
    name="smp",
    title="segmentation_models_pytorch Segformer",
    layouts=(Layout(*encoder_rows("encoder."), *under("heads.segmentation.", "", _HEAD)),),
    marks=("segmentation_head.0.", "decoder.mlp_stage.", "encoder.patch_embed1."),
    roots=("encoder.", "decoder.", "segmentation_head.", "classification_head."),
    dropped={r"classification_head\.": "the auxiliary image classifier takes no part"},
    numerics={"eps": ORIGINAL_EPS, "output_stride": 1, "output_align_corners": True},
    nvidia=True,
)
