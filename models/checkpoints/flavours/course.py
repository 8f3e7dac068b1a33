"""The course notebooks of Think Autonomous: their own MiT-B3 class, a flat `.pt` of tensors."""

from __future__ import annotations

from ..flavour import ORIGINAL_EPS, Flavour
from ..layout import CONV_1X1, KV, Layout, Row, row, under

_STAGE = {"patch_embed.proj": "patch_embed.proj", "patch_embed.norm": "patch_embed.norm"}
_BLOCK = {
    "norm1": "norm1",
    "attn.q": "attn.q",
    "attn.sr": "attn.sr",
    "attn.norm": "attn.sr_norm",
    "attn.proj": "attn.proj",
    "norm2": "norm2",
    "ffn.fc1": "ffn.fc1",
    "ffn.conv": "ffn.dwconv",
    "ffn.fc2": "ffn.fc2",
}
_HEAD = {"linear_fuse": "fuse", "bn": "bn", "linear_pred": "classifier"}
_OURS, _THEIRS = "encoder.stages.{i}.blocks.{j}.", "backbone.stages.{i}.blocks.{j}."


def encoder_rows() -> tuple[Row, ...]:
    """Return the rows of the encoder."""
    return (
        *under("encoder.stages.{i}.", "backbone.stages.{i}.", {**_STAGE, "norm": "norm"}),
        *under(_OURS, _THEIRS, _BLOCK),
        row(f"{_THEIRS}attn.kv", f"{_OURS}attn.k", f"{_OURS}attn.v", op=KV),
    )


def head_rows(theirs: str, ours: str) -> tuple[Row, ...]:
    """Return the rows of a head; its layer k = 0 takes the deepest stage."""
    return (
        *under(f"heads.{ours}.", f"{theirs}.", _HEAD),
        row(f"{theirs}.layers.{{k}}", f"heads.{ours}.project.{{i}}", op=CONV_1X1),
    )


MARKS = ("decoder_head.linear_pred.", "decoder_head.layers.", "backbone.stages.0.")
NUMERICS = {"eps": ORIGINAL_EPS, "output_stride": 1}

COURSE = Flavour(
    name="course",
    title="Think Autonomous course",
    layouts=(Layout(*encoder_rows(), *head_rows("decoder_head", "segmentation")),),
    marks=MARKS,
    roots=("backbone.", "decoder_head."),
    lacks=("depth_head.",),
    numerics=NUMERICS,
    preset="course",
    size_px=(512, 1024),  # its Cityscapes
    sizes_px={3: (180, 320)},  # its BDD100K
)
