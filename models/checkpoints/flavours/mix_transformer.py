"""The encoder names of the original, which TAO, SMP and sithu kept: stages are suffixes 1 to 4."""

from __future__ import annotations

from ..layout import KV, Row, row, under

_STAGE = {
    "patch_embed{s}.proj": "patch_embed.proj",
    "patch_embed{s}.norm": "patch_embed.norm",
    "norm{s}": "norm",
}
_BLOCK = {
    "norm1": "norm1",
    "attn.q": "attn.q",
    "attn.sr": "attn.sr",
    "attn.norm": "attn.sr_norm",
    "attn.proj": "attn.proj",
    "norm2": "norm2",
    "mlp.fc1": "ffn.fc1",
    "mlp.dwconv.dwconv": "ffn.dwconv",
    "mlp.fc2": "ffn.fc2",
}


def encoder_rows(root: str) -> tuple[Row, ...]:
    """Return the rows of an encoder below `root` ("backbone." or "encoder.")."""
    stage, block = "encoder.stages.{i}.", "encoder.stages.{i}.blocks.{j}."
    kv = row(f"{root}block{{s}}.{{j}}.attn.kv", f"{block}attn.k", f"{block}attn.v", op=KV)
    return (
        *under(stage, root, _STAGE),
        *under(block, f"{root}block{{s}}.{{j}}.", _BLOCK),
        kv,
    )
