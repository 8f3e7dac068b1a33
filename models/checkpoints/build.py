"""The canonical model filled with exactly the tensors of a file."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...common.errors import InputError
from ..segformer import SegFormer
from ..spec import ModelSpec
from .hf_keys import HUB
from .layout import COUNTER, Tensors
from .messages import listed

ToFile = Callable[[Tensors], Tensors]  # canonical tensors → tensors under the file's own names
_DAMAGED = "the file is damaged, or it is another network"


def build_model(
    spec: ModelSpec,
    tensors: Tensors,
    source: str,
    *,
    to_file: ToFile = HUB.write,
    described_by: str = "config.json",
) -> SegFormer:
    """Return the canonical model of `spec` holding exactly `tensors` (canonical names, float32).

    The model is in evaluation mode and needs no gradients. `to_file` puts errors in the words
    of the file; `described_by` says where `spec` comes from ("" for the tensors themselves).

    Raises:
        InputError: a tensor is missing, has another shape, or has no place in the model.
    """
    with torch.device("meta"):
        model = SegFormer(spec)
    expected = model.state_dict()
    counters = {name for name in expected if name.endswith(COUNTER)}
    tensors = {**{name: torch.zeros((), dtype=torch.int64) for name in counters}, **tensors}
    _compare(to_file(expected), _as_stored(tensors, to_file), source, described_by)
    model.load_state_dict(tensors, assign=True)
    return model.requires_grad_(False).eval()


def _as_stored(tensors: Tensors, to_file: ToFile) -> Tensors:
    """Return the file's names and shapes, without its numbers."""
    return to_file({name: tensor.to("meta") for name, tensor in tensors.items()})


def _compare(
    expected: dict[str, Tensor], found: dict[str, Tensor], source: str, described_by: str
) -> None:
    other = f"{described_by} belongs to another model" if described_by else "it is another network"
    if missing := expected.keys() - found.keys():
        raise InputError(
            f"Expected {len(expected)} tensors, but {source} lacks {listed(missing)}: "
            f"the file is incomplete, or {other}."
        )
    if unexpected := found.keys() - expected.keys():
        raise InputError(
            f"Expected {len(expected)} tensors, but {source} also holds {listed(unexpected)}: "
            f"{other}."
        )
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            by = f"by {described_by}" if described_by else "by the other tensors"
            end = "the two belong to different models" if described_by else _DAMAGED
            raise InputError(
                f"Expected {name!r} of shape {tuple(tensor.shape)} {by}, but "
                f"{source} holds {tuple(found[name].shape)}: {end}."
            )
