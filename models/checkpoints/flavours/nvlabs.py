"""NVlabs/SegFormer (mmcv `.pth`) and NVIDIA TAO 5, which kept its names; sithu's copy of them."""

from __future__ import annotations

from ...spec import ModelSpec
from ..flavour import ORIGINAL_EPS, Flavour
from ..layout import Layout, Tensors, under
from .mix_transformer import encoder_rows

_UNUSED = "decode_head.conv_seg."
_UNUSED_WIDTH = 128  # input channels of that classifier, which no forward pass calls

_HEAD = {
    "linear_c{s}.proj": "project.{i}",
    "linear_fuse.conv": "fuse",
    "linear_fuse.bn": "bn",
    "linear_pred": "classifier",
}
LAYOUT = Layout(*encoder_rows("backbone."), *under("heads.segmentation.", "decode_head.", _HEAD))
MARKS = ("decode_head.linear_pred.", "backbone.patch_embed1.")
ROOTS = ("backbone.", "decode_head.")


def _with_unused_classifier(tensors: Tensors, spec: ModelSpec) -> Tensors:
    """Add the classifier nobody uses: without it the file would be taken for sithu's."""
    classes, used = spec.head.classes, tensors.get("decode_head.linear_pred.weight")
    if used is None:
        return tensors
    return {
        **tensors,
        f"{_UNUSED}weight": used.new_zeros(classes, _UNUSED_WIDTH, 1, 1),
        f"{_UNUSED}bias": used.new_zeros(classes),
    }


NVLABS = Flavour(
    name="nvlabs",
    title="NVlabs SegFormer or TAO 5",
    layouts=(LAYOUT,),
    marks=MARKS,
    roots=ROOTS,
    has=(_UNUSED,),
    dropped={r"decode_head\.conv_seg\.": "a classifier the original stores and never uses"},
    numerics={"eps": ORIGINAL_EPS},
    nvidia=True,
    restore=_with_unused_classifier,
    choice_note=(
        "read as NVlabs/TAO 5 (conv_seg is there): LayerNorm eps 1e-6 in blocks and stages; "
        "if sithu's code trained it, say --set flavour=sithu"
    ),
)
