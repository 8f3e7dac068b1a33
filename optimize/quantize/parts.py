"""The part of SegFormer a node of an exported graph belongs to, told by the node's name.

The exporter names a node by the module that made it, so the names are the same in every export
of ours: plain or rewritten, static or dynamic, at every opset.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

# Inside a stage: the path below "/encoder/stages.N/" → the part. The first that matches counts.
_STAGE_PARTS = (
    (r"patch_embed/proj/Conv", "patch embed"),
    (r"(patch_embed/)?norm/LayerNormalization", "norms"),
    (r"B/(norm1|norm2|attn/sr_norm)/LayerNormalization", "norms"),
    (r"B/attn/q/(MatMul|Add)", "q"),
    (r"B/attn/(k|v|kv)/(MatMul|Add)", "kv"),
    (r"B/attn/(MatMul|Div|Mul|Softmax)", "qk"),
    (r"B/attn/MatMul_1", "pv"),
    (r"B/attn/sr/Conv", "sr"),
    (r"B/attn/proj/(MatMul|Add)", "attn proj"),
    (r"B/ffn/(fc1|fc2)/(Conv|MatMul|Add)", r"\1"),
    (r"B/ffn/dwconv/Conv", "dwconv"),
    (r"B/ffn/(Div|Erf|Add|Mul|Mul_1|Gelu)", "gelu"),
    (r"B/(Add|Add_1)", "residual"),
)
_HEAD_PARTS = (
    (r"(project|stages|branches|branch_bn)\.(\d+)/(MatMul|Conv|Add|BatchNormalization)", "branch"),
    (r"(fuse|bn)/(Conv|BatchNormalization)", "fuse"),
    (r"(Add|Resize|Relu)(_\d+)?", "fuse"),
    (r"classifier/Conv", "classifier"),
)
_STAGE = re.compile(r"/encoder/stages\.(\d+)/(.+)")
_HEAD = re.compile(r"/([^/]+)/(.+)")
_MAIN_HEAD = "segmentation"


def part_of(node_name: str) -> str | None:
    """Return the part a node computes, or None: layout, shapes, constants, foreign names.

    Parts of the head "segmentation" are called "head …" and "classifier", those of another head
    after it.

    >>> part_of("/encoder/stages.0/blocks.1/attn/MatMul_1"), part_of("/depth/classifier/Conv")
    ('stage 1 pv', 'depth classifier')
    >>> part_of("/segmentation/stages.3/Conv"), part_of("/segmentation/Concat")
    ('head branch 4', None)
    """
    if stage := _STAGE.fullmatch(node_name):
        part = _stage_part(stage[2])
        return f"stage {int(stage[1]) + 1} {part}" if part else None
    head = _HEAD.fullmatch(node_name)
    return _head_part(head[1], head[2]) if head else None


def parts_of(model: onnx.ModelProto) -> dict[str, tuple[str, ...]]:
    """Return the node names of every part of `model`, parts and nodes in forward order.

    Q/DQ nodes and casts belong to no part. A graph with foreign node names has no parts.
    """
    found: dict[str, list[str]] = {}
    for node in model.graph.node:
        part = part_of(node.name)
        if part is not None:
            found.setdefault(part, []).append(node.name)
    return {part: tuple(names) for part, names in found.items()}


def _stage_part(path: str) -> str | None:
    for pattern, part in _STAGE_PARTS:
        if match := re.fullmatch(pattern.replace("B/", r"blocks\.(?:\d+)/", 1), path):
            return match.expand(part)
    return None


def _head_part(head: str, path: str) -> str | None:
    for pattern, part in _HEAD_PARTS:
        if match := re.fullmatch(pattern, path):
            if part == "branch":
                part = f"branch {int(match[2]) + 1}"
            if head == _MAIN_HEAD:
                return part if part == "classifier" else f"head {part}"
            return f"{head} {part}"
    return None
