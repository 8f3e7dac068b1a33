"""Files no reader takes: what each one is, and what its owner can do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from ...common.errors import InputError
from .flavour import Flavour
from .flavours import FLAVOURS, flavour_named
from .messages import listed

_GENERIC = "export it with `segship export FILE --module file.py:Class`"
_TRAINED = "use a checkpoint fine-tuned for segmentation"

# heads of the readers' flavours, which people also put on other backbones
_HEAD_ON_OTHER_ENCODER = (
    (r"decoder\.mlp_stage\.", "segmentation_models_pytorch", 'encoder_name="mit_b0" to "mit_b5"'),
    (r"decoder\.linear_(fuse\.0|pred)\.", "NVIDIA TAO", "a mit_b0 to mit_b5 backbone"),
    (r"decode_head\.linear_(fuse|pred)\.", "NVlabs", "a Mix Transformer backbone"),
    (r"decode_head\.fusion_conv\.", "mmsegmentation", "a MixVisionTransformer backbone"),
)
_MIX_TRANSFORMER = (
    r"patch_embed1\.",
    r"segformer\.(encoder\.patch_embeddings|stages)\.0\.",
    r"layers\.0\.0\.projection\.",
    r"stages\.0\.(patch_embed|overlap_patch_merge)\.",
)
_CLASSIFIER = r"(head|classifier|fc)\.(weight|bias)$"


def refuse(keys: Sequence[str], source: str, stated: str | None = None) -> NoReturn:
    """Raise the error that says what a file is that no flavour claims.

    Raises:
        InputError: always.
    """
    if not keys:
        raise InputError(f"Expected the tensors of a SegFormer, but {source} holds none.")
    if stated is not None:
        _refuse_as(flavour_named(stated), keys, source)
    if _some(keys, r"to_fused\.\d") and _some(keys, r"mit\.stages\."):
        raise InputError(
            f"Expected one of the SegFormer flavours segship reads, but {source} is lucidrains' "
            "segformer-pytorch, whose attention, norms and head compute something else: "
            f"{_GENERIC}."
        )
    encoder = any(_some(keys, pattern) for pattern in _MIX_TRANSFORMER)
    if not encoder:
        _refuse_other_encoder(keys, source)
    _refuse_partial(keys, source)
    if not _some(
        keys, r"(decode_head|decoder|decoder_head|segmentation_head|mask_head|head)\.\w+\."
    ):
        extra = ", but an image classifier" if _some(keys, _CLASSIFIER) else ""
        raise InputError(
            f"Expected a segmentation model, but {source} holds only an encoder (no decode_head "
            f"tensors{extra}), as the mit_b*.pth files do: {_TRAINED}."
        )
    raise InputError(
        f"Expected a SegFormer head, but {source} has a Mix Transformer with another decoder "
        f"({listed(_decoder(keys))}): {_GENERIC}."
    )


def _some(keys: Sequence[str], pattern: str) -> bool:
    """Say whether any key holds `pattern` at the start of a module name."""
    compiled = re.compile(rf"(?:^|\.){pattern}")
    return any(compiled.search(key) for key in keys)


def _decoder(keys: Sequence[str]) -> list[str]:
    return [key for key in keys if re.search(r"(?:^|\.)\w*(head|decoder)\w*\.", key)]


def _refuse_as(flavour: Flavour, keys: Sequence[str], source: str) -> NoReturn:
    needed = ", ".join(repr(f"{mark}…") for mark in flavour.marks)
    raise InputError(
        f"Expected the names of flavour {flavour.name} ({needed}), but {source} holds "
        f"{listed(keys)}: correct --set flavour=."
    )


def _refuse_other_encoder(keys: Sequence[str], source: str) -> NoReturn:
    for pattern, owner, wanted in _HEAD_ON_OTHER_ENCODER:
        if _some(keys, pattern):
            seen = [key for key in keys if not re.search(rf"(?:^|\.){pattern}", key)]
            raise InputError(
                f"Expected a Mix Transformer encoder, but {source} has the SegFormer head of "
                f"{owner} on another one ({listed(seen or keys)}): train with {wanted}, or "
                f"{_GENERIC}."
            )
    needed = ", ".join(f"{f.marks[0]}… ({f.name})" for f in FLAVOURS)
    raise InputError(
        f"Expected the tensors of a SegFormer, with names such as {needed}, but {source} holds "
        f"{listed(keys)}: if it is a network of your own, {_GENERIC}."
    )


def _refuse_partial(keys: Sequence[str], source: str) -> None:
    """Name what is missing where most of a flavour's modules are there."""
    best: tuple[int, Flavour, list[str]] | None = None
    for flavour in FLAVOURS:
        marks = (*flavour.marks, *flavour.has)
        missing = [mark for mark in marks if not _some(keys, re.escape(mark))]
        head = [root for root in flavour.roots if _some(keys, re.escape(root))]
        if missing and len(head) >= 2 and (best is None or len(missing) < best[0]):
            best = (len(missing), flavour, missing)
    if best is not None and len(best[2]) < len(best[1].marks):
        names = ", ".join(repr(f"{mark}weight") for mark in best[2])
        raise InputError(
            f"Expected the whole of a SegFormer ({best[1].title}), but {source} lacks {names}: "
            f"the file is incomplete; if the network is another one, {_GENERIC}."
        )
