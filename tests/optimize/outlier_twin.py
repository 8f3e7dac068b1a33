"""The outlier twin: the same function with a few channels up to 100 times as large as the others.

Checkpoints from ImageNet pre-training have such channels, this project's material has not. The
scales are moved by tensor name, independently of the passes under test, across LayerNorm →
linear, fc1 → depthwise, v → proj, q ↔ k, project → fuse and the head's BatchNorm → classifier.
"""

from __future__ import annotations

import copy
import re

import torch
from torch import Tensor

from segship.models.segformer import DecodeHead, SegFormer

# What makes the channels, and "what reads them @ first column". {up}: the block's path.
_BLOCK = r"(?P<up>encoder\.stages\.\d+\.blocks\.\d+)"
_MOVES = (
    (rf"{_BLOCK}\.norm2", "norm", ("{up}.ffn.fc1",)),
    (rf"{_BLOCK}\.attn\.sr_norm", "norm", ("{up}.attn.k", "{up}.attn.v")),
    (rf"{_BLOCK}\.attn\.v", "v", ("{up}.attn.proj",)),
    (rf"{_BLOCK}\.ffn\.fc1", "fc1", ("{up}.ffn.dwconv",)),
    (rf"{_BLOCK}\.attn\.q", "q", ("{up}.attn.k",)),
)
KINDS = ("norm", "v", "fc1", "q", "stage", "head")


def outlier_twin(
    model: SegFormer,
    *,
    seed: int = 0,
    factor: float = 100.0,
    share: float = 1 / 16,
    kinds: tuple[str, ...] = KINDS,
) -> SegFormer:
    """Return a canonical model with the same output and channels `factor` times as large.

    Of every site's channels a `share`, at least one, is scaled by up to `factor`: the first by
    all of it, the others by a seeded factor between its root and itself. Of q ↔ k, one side grows
    by the root of the factor and the other shrinks by it. `kinds` restricts it to some sites.
    """
    twin = copy.deepcopy(model).eval()
    state = twin.state_dict()  # shares the tensors' memory
    random = torch.Generator().manual_seed(seed)
    for name, kind, readers in _sites(twin):
        if kind not in kinds:
            continue
        maker = state[f"{name}.weight"]
        largest = factor**0.5 if kind == "q" else factor
        scale = _factors(maker.shape[0], largest, share, random)
        _multiply(state, name, scale)
        for reader in readers:
            path, _, start = reader.partition("@")
            _divide_columns(state[f"{path}.weight"], scale, int(start or 0), kind)
            if kind == "q":
                _divide_columns(state[f"{path}.bias"], scale, 0, kind)
    return twin


def half_precision_twin(
    model: SegFormer, pixels: Tensor, *, seed: int = 0, peak: float = 4 * 65504.0
) -> SegFormer:
    """Return the same function with activations behind every head's BatchNorm that reach `peak`.

    `pixels` (B,3,H,W) are a typical input: the largest of one in eight channels gets to `peak`.
    """
    twin = copy.deepcopy(model).eval()
    random = torch.Generator().manual_seed(seed)
    for head in twin.heads.values():
        assert isinstance(head, DecodeHead)
        largest = _largest(twin, head, pixels)
        width = len(largest)
        alive = largest > 0.1 * largest.max()
        chosen = torch.randperm(width, generator=random)
        chosen = chosen[alive[chosen]][: max(1, width // 8)]
        scale = torch.ones(width, dtype=torch.float64)
        scale[chosen] = peak / largest[chosen]
        with torch.no_grad():
            for tensor in (head.bn.weight, head.bn.bias):
                tensor.copy_((tensor.double() * scale).to(tensor.dtype))
            _divide_columns(head.classifier.weight.data, scale, 0, "head")
    return twin


def _sites(model: SegFormer) -> list[tuple[str, str, tuple[str, ...]]]:
    """(what makes the channels, kind, what reads them) for every place a scale can move."""
    found: list[tuple[str, str, tuple[str, ...]]] = []
    names = {key.rpartition(".")[0] for key in model.state_dict()}
    for name in sorted(names):
        for pattern, kind, readers in _MOVES:
            if match := re.fullmatch(pattern, name):
                found.append((name, kind, tuple(r.format(up=match["up"]) for r in readers)))
        if match := re.fullmatch(rf"{_BLOCK}\.norm1", name):
            up = match["up"]
            inner: tuple[str, ...] = ("sr",) if f"{up}.attn.sr" in names else ("k", "v")
            found.append((name, "norm", tuple(f"{up}.attn.{part}" for part in ("q", *inner))))
    for stage in range(4):
        consumers = tuple(f"heads.{head}.project.{stage}" for head in model.heads)
        if stage < 3:
            consumers += (f"encoder.stages.{stage + 1}.patch_embed.proj",)
        found.append((f"encoder.stages.{stage}.norm", "stage", consumers))
    for name, head in model.heads.items():
        assert isinstance(head, DecodeHead)
        found.append((f"heads.{name}.bn", "head", (f"heads.{name}.classifier",)))
        made_by = "branch_bn" if head.branch_relu else "project"
        for stage in range(4):
            column = (3 - stage) * head.fuse.out_channels
            found.append(
                (f"heads.{name}.{made_by}.{stage}", "head", (f"heads.{name}.fuse@{column}",))
            )
    return found


def _factors(count: int, factor: float, share: float, random: torch.Generator) -> Tensor:
    """(count) float64: 1 but for a few channels with up to `factor`."""
    scale = torch.ones(count, dtype=torch.float64)
    few = max(1, round(share * count))
    draws = torch.rand(few, generator=random, dtype=torch.float64)
    draws[0] = 1.0
    scale[torch.randperm(count, generator=random)[:few]] = factor ** (0.5 + 0.5 * draws)
    return scale


def _multiply(state: dict[str, Tensor], name: str, scale: Tensor) -> None:
    for tensor in (state[f"{name}.weight"], state.get(f"{name}.bias")):
        if tensor is not None:
            rows = scale.reshape(-1, *[1] * (tensor.dim() - 1))
            tensor.copy_((tensor.double() * rows).to(tensor.dtype))


def _divide_columns(tensor: Tensor, scale: Tensor, start: int, kind: str) -> None:
    """Rows for the depthwise filters and for k, columns elsewhere."""
    dim = 0 if kind in ("fc1", "q") else 1
    part = tensor.narrow(dim, start, len(scale))
    shape = [1] * tensor.dim()
    shape[dim] = -1
    part.copy_((part.double() / scale.reshape(shape)).to(part.dtype))


def _largest(model: SegFormer, head: DecodeHead, pixels: Tensor) -> Tensor:
    """Max of what the classifier reads, per channel (D) float64."""
    seen: list[Tensor] = []
    handle = head.classifier.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    with torch.inference_mode():
        model(pixels)
    handle.remove()
    return seen[0].abs().amax(dim=(0, 2, 3)).double()
