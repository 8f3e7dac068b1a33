"""sithu31296/semantic-segmentation: NVlabs' names without conv_seg, eps 1e-5 everywhere."""

from __future__ import annotations

from ..flavour import Flavour
from .nvlabs import LAYOUT, MARKS, ROOTS

SITHU = Flavour(
    name="sithu",
    title="sithu31296 semantic-segmentation",
    layouts=(LAYOUT,),
    marks=MARKS,
    roots=ROOTS,
    lacks=("decode_head.conv_seg.",),
    dropped={r"decode_head\.conv_seg\.": "a classifier the original stores and never uses"},
    numerics={"output_stride": 1},
    nvidia=True,
    choice_note=(
        "read as sithu31296's SegFormer (no conv_seg): LayerNorm eps 1e-5, output at full size; "
        "an NVlabs or TAO 5 file whose conv_seg was removed needs --set flavour=nvlabs"
    ),
)
