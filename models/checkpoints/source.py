"""From what a user typed to named tensors: a folder, a weights file or a hub id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...common.errors import InputError
from . import smp_config
from .containers import Container, read_container
from .hf_config import Json, check_config, read_json
from .tensors import WEIGHT_SUFFIXES, Weights, find_weights

CONFIG = "config.json"
_FOREIGN_SUFFIXES = {
    ".h5": "TensorFlow",
    ".keras": "TensorFlow",
    ".pb": "TensorFlow",
    ".msgpack": "Flax",
}
_NO_WEIGHTS = ("optimizer", "scheduler", "training_args", "rng_state", "scaler", "random_states")


@dataclass(frozen=True)
class Source:
    """The tensors of a checkpoint as stored, and what lies beside them.

    `typed` is what the user wrote, `path` the folder or file that was read, `label` its name in
    messages, `meta` the plain values beside the tensors. `config` is a `config.json` in the same
    folder, or None.
    """

    typed: str
    path: Path
    label: str
    weights: Weights
    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    notes: tuple[str, ...]
    config: Json | None

    @property
    def folder(self) -> Path:
        """The folder the weights lie in."""
        return self.weights.folder


def open_folder(folder: Path, typed: str) -> Source:
    """Read a folder: a Hugging Face or SMP one, or one with exactly one weights file.

    Raises:
        InputError: no weights, more than one choice, or files that cannot be read.
    """
    config = _config(folder)
    if config is not None and smp_config.is_smp(config):
        smp_config.require_segformer(config, str(folder))
    elif config is not None:
        check_config(config, folder / CONFIG)
    weights = find_weights(folder) if config is not None else _only_weights(folder)
    return _open(weights, typed, config, folder)


def open_file(path: Path, typed: str) -> Source:
    """Read one weights file; a config.json beside it is read too.

    Raises:
        InputError: the file is damaged, unsafe, encrypted or holds no tensors.
    """
    refuse_other_files(path)
    weights = Weights(path.parent, (path.name,))
    return _open(weights, typed, None, path, beside=True)


def refuse_other_files(path: Path) -> None:
    """Refuse a file whose suffix is none of a weights file.

    Raises:
        InputError: says what the file is, where that is known.
    """
    if path.suffix in WEIGHT_SUFFIXES:
        return
    if kind := _FOREIGN_SUFFIXES.get(path.suffix):
        raise InputError(
            f"Expected PyTorch weights, but {path} holds {kind} ones: convert it with "
            "transformers 4 (from_pretrained with from_tf or from_flax, then save_pretrained)."
        )
    raise InputError(
        f"Expected a checkpoint ({', '.join(WEIGHT_SUFFIXES)} or a folder), but {path} is "
        f"a {path.suffix or 'file without suffix'}: check the path."
    )


def _open(
    weights: Weights, typed: str, config: Json | None, path: Path, *, beside: bool = False
) -> Source:
    """Read the tensors first: an unsafe file is named before a damaged config."""
    if weights.index is not None:
        held = Container(weights.index, "safetensors", weights.read())
    else:
        held = read_container(weights.folder / weights.files[0])
    if beside:
        config = _config(weights.folder)
    return Source(typed, path, str(path), weights, held.tensors, held.meta, held.notes, config)


def _config(folder: Path) -> Json | None:
    path = folder / CONFIG
    return read_json(path) if path.is_file() else None


def _only_weights(folder: Path) -> Weights:
    """Return the one model in a folder that has no config.json."""
    try:
        names = sorted(p.name for p in folder.iterdir() if p.suffix in WEIGHT_SUFFIXES)
    except OSError as error:
        raise InputError(f"Cannot read {folder}: {error.strerror or error}.") from error
    names = [name for name in names if not name.startswith(_NO_WEIGHTS)]
    if len(names) == 1:
        return Weights(folder, (names[0],))
    if not names and not any((folder / f).is_file() for f in ("tf_model.h5", "flax_model.msgpack")):
        raise InputError(
            f"Expected a checkpoint, but {folder} has no config.json and no weights file: name "
            "the folder that save_pretrained wrote, or a weights file."
        )
    try:
        return find_weights(folder)
    except InputError as error:
        if not names:
            raise
        raise InputError(
            f"Expected one weights file in {folder}, but found {len(names)} "
            f"({', '.join(names[:3])}{', …' if len(names) > 3 else ''}): name the file."
        ) from error
