"""mmsegmentation's own MiT and SegformerHead (0.17 to 1.x), and SegFormer++ on top of it.

Each branch of the head has its BatchNorm and ReLU, and the fuse takes the stages shallow first.
"""

from __future__ import annotations

from ...spec import Eps, HeadKind
from ..flavour import Flavour
from ..layout import CONV_1X1, QKV, SHALLOW_FIRST, Layout, row, under

_STAGE = {"0.projection": "patch_embed.proj", "0.norm": "patch_embed.norm", "2": "norm"}
_BLOCK = {
    "norm1": "norm1",
    "attn.attn.out_proj": "attn.proj",
    "attn.sr": "attn.sr",
    "attn.norm": "attn.sr_norm",
    "norm2": "norm2",
    "ffn.layers.1": "ffn.dwconv",
}
_HEAD = {
    "convs.{i}.bn": "branch_bn.{i}",
    "fusion_conv.bn": "bn",
    "conv_seg": "classifier",
}
_OURS, _THEIRS = "encoder.stages.{i}.blocks.{j}.", "backbone.layers.{i}.1.{j}."
_OUR_HEAD = "heads.segmentation."

_LAYOUT = Layout(
    *under("encoder.stages.{i}.", "backbone.layers.{i}.", _STAGE),
    *under(_OURS, _THEIRS, _BLOCK),
    row(
        f"{_THEIRS}attn.attn.in_proj_{{leaf}}",
        *(f"{_OURS}attn.{part}" for part in "qkv"),
        op=QKV,
    ),
    row(f"{_THEIRS}ffn.layers.0", f"{_OURS}ffn.fc1", op=CONV_1X1),
    row(f"{_THEIRS}ffn.layers.4", f"{_OURS}ffn.fc2", op=CONV_1X1),
    *under(_OUR_HEAD, "decode_head.", _HEAD),
    row("decode_head.convs.{i}.conv", f"{_OUR_HEAD}project.{{i}}", op=CONV_1X1),
    row("decode_head.fusion_conv.conv", f"{_OUR_HEAD}fuse", op=SHALLOW_FIRST),
)

MMSEG = Flavour(
    name="mmseg",
    title="mmsegmentation or SegFormer++",
    layouts=(_LAYOUT,),
    marks=("decode_head.conv_seg.", "decode_head.fusion_conv.", "backbone.layers.0."),
    roots=("backbone.", "decode_head."),
    numerics={"eps": Eps(patch=1e-6, sr=1e-6, block=1e-6, stage=1e-6)},
    head={"kind": HeadKind.BRANCH_RELU},
    nvidia=True,
    notes=("token merging (SegFormer++) is no part of the weights: the plain model is read",),
)
