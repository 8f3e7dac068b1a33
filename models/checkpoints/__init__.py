"""One reader file per checkpoint flavour; each turns its files into the canonical model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...common.errors import InputError

if TYPE_CHECKING:
    from .checkpoint import Checkpoint

__all__ = ["load_checkpoint", "looks_like_checkpoint"]

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def load_checkpoint(source: str | Path) -> Checkpoint:
    """Read a trained SegFormer from a folder, a weights file in such a folder, or a hub id.

    Nothing in a checkpoint is ever executed.

    Raises:
        InputError: one line that says what was expected, what came and what to do.
    """
    from .hf import read_hf, read_hf_file
    from .hf_hub import download, is_hub_id

    path, text = Path(source), str(source)
    if path.is_dir():
        return read_hf(path, source=text)
    if path.is_file():
        _refuse_other_files(path)
        return read_hf_file(path, source=text)
    if not is_hub_id(text):
        raise InputError(
            f"Expected a checkpoint folder, a weights file or a Hugging Face id, but {text} does "
            "not exist: check the path."
        )
    return read_hf(download(text), source=text)


def looks_like_checkpoint(source: str | Path) -> bool:
    """Say whether `source` names a checkpoint rather than an artifact; reads no tensors.

    True for a folder, an existing weights file by its suffix, and an id of the form owner/name
    where no such path exists.
    """
    from .hf_hub import is_hub_id

    path = Path(source)
    if path.exists():
        return path.is_dir() or path.suffix in _WEIGHT_SUFFIXES
    return is_hub_id(str(source))


def _refuse_other_files(path: Path) -> None:
    if path.suffix not in _WEIGHT_SUFFIXES:
        raise InputError(
            f"Expected a checkpoint ({', '.join(_WEIGHT_SUFFIXES)} or a folder), but {path} is "
            f"a {path.suffix or 'file without suffix'}: check the path."
        )
