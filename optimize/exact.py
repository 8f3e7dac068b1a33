"""The exact rewrites in the order they must run."""

from __future__ import annotations

from .attention import FuseAttention
from .head_fold import FoldHeads
from .layer_norm import FoldLayerNorms
from .mix_ffn import ConvertMixFfn
from .passes import Pipeline


def exact_rewrites() -> Pipeline:
    """Return the pipeline of rewrites 1 to 4 (design: no accuracy to pay)."""
    return Pipeline([FoldLayerNorms(), FuseAttention(), ConvertMixFfn(), FoldHeads()])
