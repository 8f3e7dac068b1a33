"""Tiny checkpoints of every flavour, made by the toolkit's own inverse maps.

The tensors are random, every vector moved off its initial value; no foreign code is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segship.models.checkpoints.flavour import Flavour
from segship.models.checkpoints.flavours import flavour_named
from segship.models.segformer import SegFormer
from segship.models.spec import HeadSpec, ModelSpec

Tensors = dict[str, Tensor]
CLASSES = 5
CONTAINERS = ("plain", "legacy", "safetensors", "mmcv", "mmengine", "lightning", "model_state_dict")


def tiny_spec(flavour: Flavour, classes: int = CLASSES, in_channels: int = 3) -> ModelSpec:
    """C = 8, 16, 24, 32, one block per stage, D = 16, and the flavour's own numbers."""
    heads = tuple(
        HeadSpec(name=name, classes=1 if name == "depth" else classes, width=16)
        for name in flavour.head_names
    )
    return flavour.dress(
        ModelSpec(
            widths=(8, 16, 24, 32),
            depths=(1, 1, 1, 1),
            attention_heads=(1, 2, 3, 4),
            in_channels=in_channels,
            heads=heads,
            sr_at_ratio_1=flavour.name == "zuppichini",
        )
    )


def tiny_state(flavour: Flavour, spec: ModelSpec, seed: int = 3) -> Tensors:
    """A canonical state dict that the flavour's layout can hold exactly."""
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: _random(name, tensor, generator)
        for name, tensor in SegFormer(spec).state_dict().items()
    }
    if flavour.name == "zuppichini":
        for name in state:
            if ".ffn.fc1." in name:
                state[name] = state[name][::4].repeat_interleave(4, dim=0)
            elif name.endswith("patch_embed.proj.bias"):
                state[name] = torch.zeros_like(state[name])
    return state


def _random(name: str, tensor: Tensor, generator: torch.Generator) -> Tensor:
    if not tensor.is_floating_point():
        return torch.full_like(tensor, 7)
    noise = torch.randn(tensor.shape, generator=generator)
    if name.endswith("running_var"):
        return 0.5 + noise.abs()
    if tensor.ndim > 1:
        return torch.mul(noise, tensor[0].numel() ** -0.5)
    return 0.2 * noise + (1.0 if name.endswith("weight") else 0.0)


def tiny_tensors(name: str, classes: int = CLASSES, seed: int = 3, **options: Any) -> Tensors:
    """The tensors of a tiny model under the flavour's own names."""
    flavour = flavour_named(name)
    spec = tiny_spec(flavour, classes, **options)
    return flavour.write(tiny_state(flavour, spec, seed), spec)


def same_tensors(left: Tensors, right: Tensors) -> bool:
    """Say whether names, dtypes and bits are the same."""
    same_names = left.keys() == right.keys()
    return same_names and all(
        left[key].dtype == right[key].dtype and torch.equal(left[key], right[key]) for key in left
    )


def write_flavour_file(
    folder: Path,
    name: str,
    *,
    container: str = "plain",
    prefix: str = "",
    classes: int = CLASSES,
    extra: dict[str, Tensor] | None = None,
) -> Path:
    """Write a tiny checkpoint of flavour `name` below `folder` and return its path."""
    tensors = {f"{prefix}{key}": value for key, value in tiny_tensors(name, classes).items()}
    return write_container(folder, {**tensors, **(extra or {})}, name, container, classes)


def write_container(
    folder: Path, tensors: Tensors, name: str, container: str = "plain", classes: int = CLASSES
) -> Path:
    """Write tensors in a container and return the path: `name.suffix`."""
    if container == "safetensors":
        from safetensors.torch import save_file

        path = folder / f"{name}.safetensors"
        save_file({key: value.contiguous() for key, value in tensors.items()}, path)
        return path
    suffix = "ckpt" if container == "lightning" else "pth"
    path = folder / f"{name}.{suffix}"
    torch.save(
        _contents(tensors, container, classes),
        path,
        _use_new_zipfile_serialization=container != "legacy",
    )
    return path


def _contents(tensors: Tensors, container: str, classes: int) -> dict[str, Any]:
    names = [f"thing {index}" for index in range(classes)]
    colours = [[index, 2 * index, 255 - index] for index in range(classes)]
    config = "data = dict(crop_size=(96, 128))\nmodel = dict(test_cfg=dict(mode='whole'))"
    contents: dict[str, dict[str, Any]] = {
        "plain": tensors,
        "legacy": tensors,
        "mmcv": {
            "meta": {"config": config, "CLASSES": tuple(names), "PALETTE": colours, "epoch": 3},
            "state_dict": tensors,
            "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        },
        "mmengine": {
            "meta": {"cfg": config, "dataset_meta": {"classes": names, "palette": colours}},
            "state_dict": tensors,
            "message_hub": {"log_scalars": {}},
            "optimizer": {},
            "param_schedulers": [],
        },
        "lightning": {
            "epoch": 3,
            "global_step": 30,
            "pytorch-lightning_version": "2.4.0",
            "state_dict": tensors,
            "hyper_parameters": {"lr": 1e-4},
            "optimizer_states": [],
            "lr_schedulers": [],
            "callbacks": {},
        },
        "model_state_dict": {
            "epoch": 3,
            "model_state_dict": tensors,
            "optimizer_state_dict": {"state": {}},
            "dice": 0.5,
        },
    }
    return contents[container]
