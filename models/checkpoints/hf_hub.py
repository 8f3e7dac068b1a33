"""Checkpoints by their Hugging Face id, through huggingface_hub and its cache."""

from __future__ import annotations

import re
from pathlib import Path

from ...common.errors import InputError
from .messages import one_line
from .model_card import CARD

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILE_SUFFIXES = (".onnx", ".json", ".yaml", ".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_CONFIGS = ["config.json", "preprocessor_config.json", CARD]
_SAFE = ["model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json"]
_PICKLED = ["pytorch_model.bin", "pytorch_model-*-of-*.bin", "pytorch_model.bin.index.json"]


def is_hub_id(source: str) -> bool:
    """Say whether `source` has the form owner/name.

    >>> is_hub_id("nvidia/segformer-b0"), is_hub_id("runs/m.onnx"), is_hub_id("../a")
    (True, False, False)
    """
    return _ID.fullmatch(source) is not None and not source.endswith(_FILE_SUFFIXES)


def download(hub_id: str) -> Path:
    """Return the local snapshot of a checkpoint; `.bin` files only where nothing safer is there.

    Raises:
        InputError: no such repository, no access, or no network and nothing in the cache.
    """
    folder = _snapshot(hub_id, _CONFIGS + _SAFE)
    if not any(folder.glob("model*.safetensors")):
        folder = _snapshot(hub_id, _CONFIGS + _PICKLED)
    return folder


def _snapshot(hub_id: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=patterns))
    except (OSError, ValueError) as error:  # every error of huggingface_hub is one of the two
        raise InputError(
            f"Expected a checkpoint folder or a Hugging Face id, but no path {hub_id} exists and "
            f"the hub did not give it ({one_line(error)}): check the name and the network."
        ) from error
