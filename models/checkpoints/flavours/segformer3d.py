"""adithyagaurav/Segformer3D: the course's model with a second head for depth."""

from __future__ import annotations

from ..flavour import Flavour
from ..layout import Layout
from .course import MARKS, NUMERICS, encoder_rows, head_rows

SEGFORMER3D = Flavour(
    name="segformer3d",
    title="Segformer3D",
    layouts=(
        Layout(
            *encoder_rows(),
            *head_rows("decoder_head", "segmentation"),
            *head_rows("depth_head", "depth"),
        ),
    ),
    marks=(*MARKS, "depth_head."),
    roots=("backbone.", "decoder_head.", "depth_head."),
    numerics=NUMERICS,
    head_names=("segmentation", "depth"),
    preset="segformer3d",
    size_px=(512, 1024),
    notes=(
        "the image and video scripts of Segformer3D feed BGR frames; segship feeds RGB, as its "
        "training does: --set preset=segformer3d-video gives their pictures",
        "depth is 10 times the stored depth map (most likely inverse depth), its sign dropped",
    ),
)
