"""Tensors from weight files: safetensors or torch files, whole or in shards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...common.errors import InputError
from ...common.files import sha256_file, sha256_folder
from .containers import read_container
from .messages import listed, one_line

SAFETENSORS, PICKLE = (".safetensors",), (".bin", ".pt", ".pth", ".ckpt")
WEIGHT_SUFFIXES = SAFETENSORS + PICKLE

_WHOLE = ("model.safetensors", "pytorch_model.bin")  # preferred first
_FOREIGN = ("tf_model.h5", "flax_model.msgpack")


@dataclass(frozen=True)
class Weights:
    """The files of one folder that together hold a model; `index` is set for shards."""

    folder: Path
    files: tuple[str, ...]
    index: Path | None = None

    def sha256(self) -> str:
        """Return the hash of the file, or one hash over the names and bytes of the shards."""
        if len(self.files) == 1:
            return sha256_file(self.folder / self.files[0])
        return sha256_folder(self.folder, list(self.files))

    def read(self) -> dict[str, Tensor]:
        """Read every tensor by its stored name.

        Raises:
            InputError: a file is truncated, damaged or unsafe, or shards and index disagree.
        """
        tensors: dict[str, Tensor] = {}
        for name in self.files:
            part = read_file(self.folder / name)
            if twice := tensors.keys() & part.keys():
                raise InputError(
                    f"Expected each tensor in one shard, but {self.folder / name} repeats "
                    f"{listed(twice)}: download the checkpoint again."
                )
            tensors.update(part)
        if self.index is not None:
            _compare_with_index(self.index, tensors)
        return tensors


def find_weights(folder: Path) -> Weights:
    """Find the weight files of a Hugging Face folder, safetensors before `.bin`.

    Raises:
        InputError: there are none, a shard is missing, or only TensorFlow or Flax files exist.
    """
    for name in _WHOLE:
        if (folder / name).is_file():
            return Weights(folder, (name,))
        if (index := folder / f"{name}.index.json").is_file():
            return Weights(folder, _shards(index), index)
    if foreign := [name for name in _FOREIGN if (folder / name).is_file()]:
        raise InputError(
            f"Expected PyTorch weights, but {folder} holds only {foreign[0]}: convert it with "
            "transformers 4 (from_pretrained with from_tf or from_flax, then save_pretrained)."
        )
    raise InputError(
        f"Expected {' or '.join(_WHOLE)} in {folder}, but found neither: "
        "check that the download is complete."
    )


def read_file(path: Path) -> dict[str, Tensor]:
    """Read all tensors of one safetensors or torch file; nothing in it is ever executed.

    Raises:
        InputError: the file is truncated, damaged, unsafe or holds no tensors.
    """
    return read_container(path).tensors


def as_float32(tensors: dict[str, Tensor], source: str) -> tuple[dict[str, Tensor], set[str]]:
    """Return the tensors in float32 (counters left alone) and the names of the other dtypes.

    Raises:
        InputError: a tensor is quantised, or holds NaN or infinity.
    """
    converted, dtypes = {}, set()
    for name, tensor in tensors.items():
        if name.endswith("num_batches_tracked"):
            converted[name] = tensor
            continue
        if not tensor.is_floating_point() or tensor.itemsize < 2:  # float8 is a quantised format
            raise InputError(
                f"Expected floating-point weights, but {name!r} in {source} is {tensor.dtype}: "
                "use the checkpoint from before quantisation."
            )
        if tensor.dtype is not torch.float32:
            dtypes.add(str(tensor.dtype).removeprefix("torch."))
        converted[name] = tensor.to(torch.float32)
        if not bool(torch.isfinite(converted[name]).all()):
            raise InputError(
                f"Expected finite weights, but {name!r} in {source} holds NaN or infinity: "
                "use an earlier checkpoint of that training."
            )
    return converted, dtypes


def _shards(index: Path) -> tuple[str, ...]:
    names = sorted(set(_weight_map(index).values()))
    for name in names:
        if Path(name).name != name or Path(name).suffix not in WEIGHT_SUFFIXES:
            raise InputError(
                f"Expected weight files beside {index}, but it names {name!r}: "
                "download the checkpoint again."
            )
        if not (index.parent / name).is_file():
            raise InputError(
                f"Expected the shard {name} that {index} names, but it is missing: "
                "download the checkpoint again."
            )
    return tuple(names)


def _weight_map(index: Path) -> dict[str, str]:
    try:
        table = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if not table or not all(isinstance(name, str) for name in table.values()):
            raise ValueError("weight_map is empty or names no files")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"Expected a shard index with a weight_map, but {index} is none "
            f"({one_line(error)}): download it again."
        ) from error
    return dict(table)


def _compare_with_index(index: Path, tensors: dict[str, Tensor]) -> None:
    if missing := _weight_map(index).keys() - tensors.keys():
        raise InputError(
            f"Expected every tensor that {index} lists, but the shards lack {listed(missing)}: "
            "download the checkpoint again."
        )
