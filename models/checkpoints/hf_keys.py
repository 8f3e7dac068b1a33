"""Tensor names: two Hugging Face spellings and the canonical one.

Hub files carry the names of transformers before 5.9 and `save_pretrained` still writes them;
`torch.save(model.state_dict())` under 5.9 or later writes the new ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ...common.errors import InputError
from .messages import listed

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

_CANONICAL, _HUB, _NEW = 0, 1, 2


def _template(row: int, spelling: int) -> str:
    """Return the whole module name of a table row in one spelling."""
    return f"{_MODULES[row][0][spelling]}.{_MODULES[row][spelling + 1]}"


def _pattern(template: str) -> re.Pattern[str]:
    """Compile a template to a pattern with the groups i, j and leaf.

    >>> _pattern("a.{i}.b").fullmatch("a.3.b.weight")["leaf"]
    'weight'
    """
    escaped = re.escape(template)
    for name in "ij":
        escaped = escaped.replace(rf"\{{{name}\}}", rf"(?P<{name}>\d+)")
    return re.compile(escaped + r"\.(?P<leaf>[a-z_]+)")


def _rules(source: int, target: int) -> list[tuple[re.Pattern[str], str]]:
    rows = range(len(_MODULES))
    return [(_pattern(_template(row, source)), _template(row, target)) for row in rows]


_TO_CANONICAL = _rules(_HUB, _CANONICAL) + _rules(_NEW, _CANONICAL)
_TO_HUB = _rules(_CANONICAL, _HUB)
_TO_NEW = _rules(_CANONICAL, _NEW)


def _rename(key: str, rules: list[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, template in rules:
        if match := pattern.fullmatch(key):
            groups = match.groupdict()
            return f"{template.format(**groups)}.{groups['leaf']}"
    return None


def canonical_name(key: str) -> str | None:
    """Return the canonical name of a tensor in either Hugging Face spelling, or None.

    >>> canonical_name("segformer.encoder.block.1.0.attention.self.key.bias")
    'encoder.stages.1.blocks.0.attn.k.bias'
    >>> canonical_name("segformer.stages.1.blocks.0.attention.k_proj.bias")
    'encoder.stages.1.blocks.0.attn.k.bias'
    """
    return _rename(key, _TO_CANONICAL)


def hub_name(key: str, *, since_5_9: bool = False) -> str:
    """Return the Hugging Face name of a canonical tensor, in the hub spelling by default.

    >>> hub_name("heads.segmentation.project.2.weight")
    'decode_head.linear_c.2.proj.weight'

    Raises:
        InputError: the Hugging Face layout has no such tensor.
    """
    name = _rename(key, _TO_NEW if since_5_9 else _TO_HUB)
    if name is None:
        raise InputError(
            f"Expected a tensor the Hugging Face layout knows, but the model has {key!r}: "
            "save the model before any rewrite."
        )
    return name


def to_canonical(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Rename every tensor; `source` names the file or folder in errors.

    Raises:
        InputError: a name belongs to neither spelling, or two names mean the same tensor.
    """
    _require_decode_head(tensors, source)
    renamed: dict[str, Tensor] = {}
    unknown = []
    for key, tensor in tensors.items():
        name = canonical_name(key)
        if name is None:
            unknown.append(key)
        elif name in renamed:
            raise InputError(
                f"Expected each tensor once, but {source} holds {key!r} in both spellings: "
                "save the model again with one version of transformers."
            )
        else:
            renamed[name] = tensor
    if unknown:
        raise InputError(
            f"Expected only SegFormer tensors, but {source} also holds {listed(unknown)}: "
            "save the plain model with save_pretrained."
        )
    return renamed


def _require_decode_head(tensors: Mapping[str, Tensor], source: str) -> None:
    if any(key.startswith("decode_head.") for key in tensors):
        return
    if any("patch_embed" in key for key in tensors) and not any(
        "decode_head." in key or "decoder" in key for key in tensors
    ):
        raise InputError(
            f"Expected a segmentation model, but {source} holds only an encoder (no decode_head "
            "tensors): use a checkpoint of SegformerForSemanticSegmentation."
        )
    raise InputError(
        f"Expected the tensors of SegformerForSemanticSegmentation, but {source} holds "
        f"{listed(tensors) or 'none'}: save the plain model with save_pretrained."
    )
