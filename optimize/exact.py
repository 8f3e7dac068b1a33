"""The exact rewrites in the order they must run."""

from __future__ import annotations

from collections.abc import Sequence

from .attention import FuseAttention
from .head_fold import FoldHeads
from .layer_norm import FoldLayerNorms
from .mix_ffn import ConvertMixFfn
from .passes import Pass, Pipeline


def exact_rewrites(scaling: Sequence[Pass] = ()) -> Pipeline:
    """Return the pipeline of rewrites 1 to 4 (design: no accuracy to pay).

    `scaling` are exact scaling passes; they run where the norms have lost their affine part and
    the model is canonical still. Their maxima belong to the model `FoldLayerNorms` leaves.
    """
    return Pipeline([FoldLayerNorms(), *scaling, FuseAttention(), ConvertMixFfn(), FoldHeads()])
