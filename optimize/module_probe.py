"""What does a network of the user return? One run on an image tells; no segmentation is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import InputError
from ..data.contract import DEPTH_HEAD, Contract, InputKind, OutputKind
from ..models.checkpoints.messages import one_line
from ..models.foreign_module import named_outputs


def probe(network: nn.Module, contract: Contract) -> dict[str, tuple[int, ...]]:
    """Run the network once and return the shape of each head's output.

    Raises:
        InputError: it fails on an image of the contract's size, or returns no segmentation.
    """
    height, width = contract.size_px
    image = torch.zeros(1, 3, height, width)
    try:
        with torch.inference_mode():
            result = network(image)
    except Exception as error:  # whatever the user's own code raises
        raise InputError(
            f"Expected a network that takes (1, 3, {height}, {width}), but it raised "
            f"{type(error).__name__}: {one_line(error)}: pass --size."
        ) from error
    outputs = named_outputs(result, contract.heads)
    for head, tensor in outputs.items():
        _refuse_other_maps(head, tensor, (height, width))
    return {head: tuple(tensor.shape) for head, tensor in outputs.items()}


def _refuse_other_maps(head: str, tensor: Tensor, size_px: tuple[int, int]) -> None:
    shape = tuple(tensor.shape)
    is_map = (
        len(shape) == 4
        and tensor.is_floating_point()
        and shape[0] == 1
        and 1 < shape[2] <= size_px[0]
        and 1 < shape[3] <= size_px[1]
        and (head != DEPTH_HEAD or shape[1] == 1)
    )
    if not is_map:
        kind = "depth (1, 1, h, w)" if head == DEPTH_HEAD else "logits (1, classes, h, w)"
        raise InputError(
            f"Expected {kind} as floats for an image of {size_px[0]}x{size_px[1]}, but the "
            f"network's {head} is {str(tensor.dtype).removeprefix('torch.')} of shape {shape}: "
            "return maps of logits."
        )


def is_full_size(probed: Mapping[str, tuple[int, ...]], size_px: tuple[int, int]) -> bool:
    """Say whether every output has the input's size; they must agree.

    Raises:
        InputError: one head is at full size and another is not.
    """
    full = {shape[2:] == size_px for shape in probed.values()}
    if len(full) > 1:
        raise InputError(
            f"Expected all heads at one scale, but they are {list(probed.values())}: "
            "resize inside the network."
        )
    return full.pop()


def completed_contract(
    contract: Contract,
    probed: Mapping[str, tuple[int, ...]],
    stated: Mapping[str, Any],
    output_kind: OutputKind,
    input_kind: InputKind,
    full_size: bool,
) -> Contract:
    """Return the contract with classes for every channel and the kinds the file will have."""
    if full_size and output_kind is OutputKind.LOGITS:
        output_kind = OutputKind.LOGITS_FULL
    contract = replace(contract, output=output_kind, input=input_kind)
    channels = next((shape[1] for head, shape in probed.items() if head != DEPTH_HEAD), None)
    if channels is None:
        return contract
    if not contract.classes:
        names = tuple(f"class_{index}" for index in range(channels))
        contract = replace(contract, classes=names)
    if channels == 1 and contract.threshold is None and "threshold" not in stated:
        contract = replace(contract, threshold=0.5)
    wanted = 1 if contract.threshold is not None else len(contract.classes)
    if channels != wanted:
        raise InputError(
            f"Expected {wanted} output channel(s) as the contract's classes and threshold say, but "
            f"the network returns {channels}: correct classes."
        )
    return contract
