"""Tensor names: two Hugging Face spellings and the canonical one.

Hub files carry the names of transformers before 5.9 and `save_pretrained` still writes them;
`torch.save(model.state_dict())` under 5.9 or later writes the new ones.
"""

from __future__ import annotations

from ...common.errors import InputError
from .layout import Layout, row

# canonical prefix, hub prefix, prefix since transformers 5.9; {i} is the stage, {j} the block
_STAGE = ("encoder.stages.{i}", "segformer.encoder", "segformer.stages.{i}")
_BLOCK = (
    "encoder.stages.{i}.blocks.{j}",
    "segformer.encoder.block.{i}.{j}",
    "segformer.stages.{i}.blocks.{j}",
)
_HEAD = ("heads.segmentation", "decode_head", "decode_head")

# prefix row, then the module's name in each of the three spellings
_MODULES = (
    (_STAGE, "patch_embed.proj", "patch_embeddings.{i}.proj", "patch_embeddings.proj"),
    (_STAGE, "patch_embed.norm", "patch_embeddings.{i}.layer_norm", "patch_embeddings.layer_norm"),
    (_STAGE, "norm", "layer_norm.{i}", "layer_norm"),
    (_BLOCK, "norm1", "layer_norm_1", "layernorm_before"),
    (_BLOCK, "attn.q", "attention.self.query", "attention.q_proj"),
    (_BLOCK, "attn.k", "attention.self.key", "attention.k_proj"),
    (_BLOCK, "attn.v", "attention.self.value", "attention.v_proj"),
    (_BLOCK, "attn.sr", "attention.self.sr", "attention.sequence_reduction.sequence_reduction"),
    (
        _BLOCK,
        "attn.sr_norm",
        "attention.self.layer_norm",
        "attention.sequence_reduction.layer_norm",
    ),
    (_BLOCK, "attn.proj", "attention.output.dense", "attention.o_proj"),
    (_BLOCK, "norm2", "layer_norm_2", "layernorm_after"),
    (_BLOCK, "ffn.fc1", "mlp.dense1", "mlp.fc1"),
    (_BLOCK, "ffn.dwconv", "mlp.dwconv.dwconv", "mlp.dwconv.dwconv"),
    (_BLOCK, "ffn.fc2", "mlp.dense2", "mlp.fc2"),
    (_HEAD, "project.{i}", "linear_c.{i}.proj", "linear_projections.{i}.proj"),
    (_HEAD, "fuse", "linear_fuse", "linear_fuse"),
    (_HEAD, "bn", "batch_norm", "batch_norm"),
    (_HEAD, "classifier", "classifier", "classifier"),
)


def _layout(spelling: int) -> Layout:
    """Return the layout of spelling 1 (hub) or 2 (since 5.9)."""
    return Layout(
        *(
            row(f"{prefix[spelling]}.{names[spelling]}", f"{prefix[0]}.{names[0]}")
            for prefix, *names in _MODULES
        )
    )


HUB, SINCE_5_9 = _layout(1), _layout(2)


def canonical_name(key: str) -> str | None:
    """Return the canonical name of a tensor in either Hugging Face spelling, or None.

    >>> canonical_name("segformer.encoder.block.1.0.attention.self.key.bias")
    'encoder.stages.1.blocks.0.attn.k.bias'
    >>> canonical_name("segformer.stages.1.blocks.0.attention.k_proj.bias")
    'encoder.stages.1.blocks.0.attn.k.bias'
    """
    return next(iter((*HUB.canonical_names(key), *SINCE_5_9.canonical_names(key))), None)


def hub_name(key: str, *, since_5_9: bool = False) -> str:
    """Return the Hugging Face name of a canonical tensor, in the hub spelling by default.

    >>> hub_name("heads.segmentation.project.2.weight")
    'decode_head.linear_c.2.proj.weight'

    Raises:
        InputError: the Hugging Face layout has no such tensor.
    """
    name = (SINCE_5_9 if since_5_9 else HUB).foreign_name(key)
    if name is None:
        raise InputError(
            f"Expected a tensor the Hugging Face layout knows, but the model has {key!r}: "
            "save the model before any rewrite."
        )
    return name
