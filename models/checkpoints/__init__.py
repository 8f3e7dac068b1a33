"""One reader file per checkpoint flavour; each turns its files into the canonical model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...common.errors import InputError

if TYPE_CHECKING:
    from .checkpoint import Checkpoint
    from .settings import Settings

__all__ = ["load_checkpoint", "looks_like_checkpoint"]

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def load_checkpoint(source: str | Path, *, settings: Settings | None = None) -> Checkpoint:
    """Read a trained SegFormer of any flavour from a folder, a weights file or a hub id.

    `settings` say what no file does; they go over the sidecar beside the checkpoint. Nothing in
    a checkpoint is ever executed.

    Raises:
        InputError: one line that says what was expected, what came and what to do.
    """
    from .assemble import assemble
    from .hf_hub import download, is_hub_id
    from .settings import Settings, read_sidecar
    from .source import open_file, open_folder

    path, text = Path(source), str(source)
    stated = (settings or Settings.none()).over(read_sidecar(path))
    if path.is_dir():
        return assemble(open_folder(path, text), stated)
    if path.is_file():
        return assemble(open_file(path, text), stated)
    if not is_hub_id(text):
        raise InputError(
            f"Expected a checkpoint folder, a weights file or a Hugging Face id, but {text} does "
            "not exist: check the path."
        )
    return assemble(open_folder(download(text), text), stated)


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
