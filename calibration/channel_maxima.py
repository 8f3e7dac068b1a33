"""The greatest magnitude of every channel at the places where scales can be moved exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..common.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.segformer import SegFormer

_IN_BLOCKS = ("norm1", "norm2", "attn.sr_norm", "attn.q", "attn.k", "attn.v", "ffn.fc1")


def channel_sites(model: SegFormer) -> tuple[str, ...]:
    """Return the module paths whose outputs are measured, those the model has.

    Per block norm1, norm2, attn.sr_norm, attn.q, attn.k, attn.v and ffn.fc1; per stage the last
    norm; per head the BatchNorm of every branch (where it has any), the fuse and its BatchNorm.
    """
    modules = dict(model.named_modules())
    sites: list[str] = []
    for index, stage in enumerate(model.encoder.stages):
        path = f"encoder.stages.{index}"
        blocks = range(len(stage.get_submodule("blocks")._modules))
        sites.extend(f"{path}.blocks.{block}.{name}" for block in blocks for name in _IN_BLOCKS)
        sites.append(f"{path}.norm")
    for head in model.heads:
        branches = [f"branch_bn.{index}" for index in range(len(model.encoder.stages))]
        sites.extend(f"heads.{head}.{name}" for name in (*branches, "fuse", "bn"))
    return tuple(site for site in sites if site in modules)


def channel_maxima(model: SegFormer, images: Iterable[NDArray[Any]]) -> dict[str, Tensor]:
    """Return max |x| per channel of every site's output over `images`, float32 (C,) on the CPU.

    Args:
        model: the canonical model before the exact rewrites, which join some of the sites.
        images: float32 (B,3,H,W), normalised; read once, one at a time.

    Raises:
        InputError: no image, pixels that are not float32, or an activation that is not finite
            (its site).
    """
    import torch

    peaks: dict[str, Tensor] = {}
    sites = channel_sites(model)
    hooks = [
        model.get_submodule(site).register_forward_hook(_keeper(site, peaks)) for site in sites
    ]
    training = model.training
    device = next(model.parameters()).device
    seen = 0
    try:
        model.eval()
        with torch.inference_mode():
            for pixels in images:
                if pixels.dtype != "float32":
                    raise InputError(
                        f"Expected normalised float32 pixels, but got {pixels.dtype}: use a "
                        "contract with float32 input."
                    )
                model(torch.from_numpy(pixels).to(device))
                seen += 1
                _refuse_not_finite(peaks, seen)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    if not seen:
        raise InputError("Expected images to measure channels on, but got none.")
    return {site: peaks[site].cpu().clone() for site in sites}


def _keeper(site: str, peaks: dict[str, Tensor]) -> Callable[..., None]:
    """Return a forward hook that keeps the running maximum of `site`."""

    def keep(module: Any, inputs: Any, output: Tensor) -> None:  # noqa: ARG001 - torch's signature
        others = (0, 2, 3) if output.ndim == 4 else (0, 1)  # maps (B,C,H,W), tokens (B,N,C)
        low, high = output.amin(dim=others), output.amax(dim=others)
        largest = (-low).maximum(high).float()
        peaks[site] = largest if site not in peaks else peaks[site].maximum(largest)

    return keep


def _refuse_not_finite(peaks: dict[str, Tensor], image: int) -> None:
    for site, values in peaks.items():
        if not bool(values.isfinite().all()):
            channel = int((~values.isfinite()).nonzero()[0])
            raise InputError(
                f"Expected finite activations, but {site} is not in channel {channel} on image "
                f"{image}: check the checkpoint and that image."
            )
