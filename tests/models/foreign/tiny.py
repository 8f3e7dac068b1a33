"""The sizes every foreign network is built with, and random weights in which everything counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

WIDTHS = (8, 16, 24, 32)
DEPTHS = (1, 2, 11, 1)  # block numbers of two digits: 10 stands between 1 and 2 in sorted names
HEADS = (1, 2, 3, 4)  # C_i / C_0, the rule the research note gives
REDUCTIONS = (8, 4, 2, 1)
DECODER = 16
CLASSES = 3


def shaken(net: nn.Module, seed: int = 7) -> nn.Module:
    """Return `net` in evaluation mode, no parameter and no BN statistic at its initial value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.add_(0.2 * noise)
        for name, buffer in net.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.3, generator=generator)
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2, generator=generator)
    return net.eval()


def quietened(net: nn.Module, pattern: str, scale: float = 3e-3) -> nn.Module:
    """Return `net` with every LayerNorm fed values of about `scale`: its epsilon then counts.

    `pattern` finds, among the parameter names, what feeds a LayerNorm: patch projections and
    their norms, the reducers, and the last layer of attention and feed-forward part.
    """
    with torch.no_grad():
        chosen = [p for name, p in net.named_parameters() if re.search(pattern, name)]
        for parameter in chosen:
            parameter.mul_(scale)
    return net


def pixels(batch: int, height_px: int, width_px: int, seed: int = 3) -> Tensor:
    """Normalised noise (batch,3,height_px,width_px) float32."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, height_px, width_px, generator=generator)


def relative(got: Tensor, want: Tensor) -> float:
    """Largest difference over the largest reference value; shapes must agree."""
    assert got.shape == want.shape
    return float((got - want).abs().max() / want.abs().max())


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: networks this small spend longer waiting for a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
