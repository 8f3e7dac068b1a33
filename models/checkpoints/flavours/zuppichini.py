"""Francesco Zuppichini's tutorial SegFormer.

Its Mix-FFN has C channels before a depthwise convolution that makes r·C of them; repeating each
row of fc1 r times gives the standard one, exactly. Patch convolutions have no bias, every stage
reduces keys and values (also at ratio 1), and the fuse normalises after its ReLU.
"""

from __future__ import annotations

import re

from torch import Tensor

from ....common.errors import InputError
from ...spec import ModelSpec
from ..flavour import Flavour
from ..layout import CONV_1X1, QKV, Layout, Tensors, row, under

_STAGE = {"overlap_patch_merge.1": "patch_embed.norm", "norm": "norm"}
_BLOCK = {
    "0.fn.0": "norm1",
    "0.fn.1.reducer.0": "attn.sr",
    "0.fn.1.reducer.1": "attn.sr_norm",
    "0.fn.1.att.out_proj": "attn.proj",
    "1.fn.0": "norm2",
    "1.fn.1.1": "ffn.dwconv",
}
_HEAD = {"head.fuse.0": "fuse", "head.fuse.2": "bn", "head.predict": "classifier"}
_OURS, _THEIRS = "encoder.stages.{i}.blocks.{j}.", "encoder.stages.{i}.blocks.{j}."
_OUR_STAGE = "encoder.stages.{i}."
_FC1 = re.compile(r"(encoder\.stages\.\d+\.blocks\.\d+\.1\.fn\.1\.)0\.(weight|bias)")

_LAYOUT = Layout(
    row(f"{_OUR_STAGE}overlap_patch_merge.0", f"{_OUR_STAGE}patch_embed.proj", no_bias=True),
    *under(_OUR_STAGE, _OUR_STAGE, _STAGE),
    *under(_OURS, _THEIRS, _BLOCK),
    row(
        f"{_THEIRS}0.fn.1.att.in_proj_{{leaf}}",
        *(f"{_OURS}attn.{part}" for part in "qkv"),
        op=QKV,
    ),
    row(f"{_THEIRS}1.fn.1.0", f"{_OURS}ffn.fc1", op=CONV_1X1),
    row(f"{_THEIRS}1.fn.1.3", f"{_OURS}ffn.fc2", op=CONV_1X1),
    row("decoder.stages.{k}.1", "heads.segmentation.project.{i}", op=CONV_1X1),
    *under("heads.segmentation.", "", _HEAD),
)


def _repeat_fc1(tensors: Tensors) -> Tensors:
    """Repeat each row of fc1 for every channel the depthwise convolution makes of it.

    Shapes that do not fit are left as they are: the comparison with the model names them.
    """
    out = dict(tensors)
    for key, tensor in tensors.items():
        if (match := _FC1.fullmatch(key)) and tensor.ndim:
            ratio = _ratio(tensors.get(f"{match[1]}0.weight"), tensors.get(f"{match[1]}1.weight"))
            out[key] = tensor.repeat_interleave(ratio, dim=0)
    return out


def _ratio(narrow: Tensor | None, wide: Tensor | None) -> int:
    """Return how many channels the depthwise convolution `wide` makes of each one it gets."""
    if narrow is None or wide is None or narrow.ndim < 2 or not wide.ndim:
        return 1
    return max(1, wide.shape[0] // max(1, narrow.shape[1]))


def _thin_fc1(tensors: Tensors, spec: ModelSpec) -> Tensors:
    """Keep one of every run of equal rows: the inverse of the repetition."""
    out = dict(tensors)
    for key, tensor in tensors.items():
        if not _FC1.fullmatch(key) or not tensor.ndim:
            continue
        ratio = spec.mlp_ratios[int(key.split(".")[2])]
        out[key] = tensor[::ratio].contiguous()
        if not tensor.is_meta and not out[key].repeat_interleave(ratio, dim=0).equal(tensor):
            raise InputError(f"Expected {key!r} in runs of {ratio} equal rows, but they differ.")
    return out


ZUPPICHINI = Flavour(
    name="zuppichini",
    title="Zuppichini's tutorial",
    layouts=(_LAYOUT,),
    marks=("head.predict.", "head.fuse.", "encoder.stages.0."),
    roots=("encoder.", "decoder.", "head."),
    numerics={"output_align_corners": True},
    head={"align_corners": True, "norm_after_relu": True},
    notes=("the tutorial names no preprocessing and its users choose it: state it with --set",),
    prepare=_repeat_fc1,
    restore=_thin_fc1,
)
