"""Small files of every container, as the trainers' own code writes them."""

from __future__ import annotations

import contextlib
import io
import sys
import types
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]
LEGACY = {"_use_new_zipfile_serialization": False}
META = {"classes": ["road", "sky"], "palette": [[1, 2, 3], [4, 5, 6]]}


class Network(nn.Module):
    """A module of the training code: opening its pickle for real would import that code."""

    def __init__(self, tensors: Tensors | None = None) -> None:
        super().__init__()
        self.inner = nn.Module()
        for name, tensor in (tensors or {"weight": torch.randn(2, 3)}).items():
            leaf = name.replace(".", "_")
            if tensor.is_floating_point():
                self.inner.register_parameter(leaf, nn.Parameter(tensor))
            else:
                self.inner.register_buffer(leaf, tensor)
        self.register_buffer("scratch", torch.zeros(3), persistent=False)


class HistoryBuffer:
    """Pickles as mmengine's: numpy arrays in an object's state."""

    def __init__(self) -> None:
        self._log_history = np.arange(5.0)
        self._count_history = np.arange(5)


@contextlib.contextmanager
def foreign(*classes: type) -> Iterator[None]:
    """While inside, the classes pickle as members of a package nobody has installed."""
    module = types.ModuleType("some_training_code")
    for made in classes:
        setattr(module, made.__name__, made)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(sys.modules, {"some_training_code": module}))
        for made in classes:
            stack.enter_context(mock.patch.object(made, "__module__", "some_training_code"))
        yield


def small_tensors(seed: int = 0) -> Tensors:
    """Tensors of several shapes and dtypes, two of them of equal shape; all values differ."""
    noise = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=noise)

    return {
        "a.weight": random(4, 3),
        "a.bias": random(4),
        "b.weight": random(4),
        "b.running_mean": random(7).half(),
        "c.weight": random(2, 3, 2, 2),
        "c.wide": random(5).double(),
        "num_batches_tracked": torch.tensor(0x0123456789ABCDEF),  # bytes found nowhere else
    }


def contents(kind: str, tensors: Tensors) -> Any:
    """Return what trainers pass to torch.save for a container of `kind`."""
    state = OrderedDict(tensors)
    other = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    optimizer = {"state": {0: {"exp_avg": torch.ones(50)}}, "param_groups": [{"lr": 0.1}]}
    mmengine = {
        "meta": {"cfg": "crop_size = (8, 8)", "dataset_meta": META, "epoch": 3},
        "state_dict": state,
        "message_hub": {"log_scalars": OrderedDict(loss=HistoryBuffer())},
        "optimizer": optimizer,
    }
    lightning = {
        "epoch": 3,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": state,
        "callbacks": {"best": {"score": torch.tensor(1.0)}},
        "optimizer_states": [optimizer],
        "hyper_parameters": {"lr": 1e-4, "model": Network(), "args": Namespace(size=8)},
    }
    made: dict[str, Any] = {
        "plain": state,
        "legacy": state,
        "unchecked": state,
        "mmcv": {
            "meta": {"config": "num_classes=2", "CLASSES": ("road", "sky"), "epoch": 3},
            "state_dict": state,
            "optimizer": optimizer,
        },
        "mmengine": mmengine,
        "mmengine ema": {**mmengine, "ema_state_dict": other},
        "lightning": lightning,
        "tao": {**lightning, "tao_model": "segformer", "state_dict_encrypted": False},
        "dict": {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": optimizer},
        "ema": {"model": other, "ema": {f"module.{k}": v for k, v in state.items()}, "epoch": 3},
        "module": Network(tensors),
        "legacy module": {"model": Network(tensors), "epoch": 3},
    }
    return made[kind]


KINDS = (
    *("plain", "legacy", "unchecked", "mmcv", "mmengine", "mmengine ema", "lightning", "tao"),
    *("dict", "ema", "module", "legacy module", "safetensors"),
)


def container_bytes(kind: str, tensors: Tensors) -> bytes:
    """Return the bytes of a file of `kind` that holds `tensors`."""
    if kind == "safetensors":
        from safetensors.torch import save

        return bytes(save(tensors, {"format": "pt"}))
    buffer = io.BytesIO()
    checksums = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(kind != "unchecked")
    try:
        with foreign(Network, HistoryBuffer):
            torch.save(contents(kind, tensors), buffer, **(LEGACY if "legacy" in kind else {}))
    finally:
        torch.serialization.set_crc32_options(checksums)
    return buffer.getvalue()


def stored_names(kind: str, tensors: Tensors) -> Tensors:
    """Return the tensors by the names a container of `kind` stores them under."""
    if "module" in kind:
        return {f"inner.{name.replace('.', '_')}": tensor for name, tensor in tensors.items()}
    if kind == "ema":
        return {f"module.{name}": tensor for name, tensor in tensors.items()}
    return tensors


def write(folder: Path, kind: str, tensors: Tensors) -> Path:
    """Write a file of `kind` below `folder`."""
    path = folder / f"{kind.replace(' ', '-')}.pth"
    path.write_bytes(container_bytes(kind, tensors))
    return path
