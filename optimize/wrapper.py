"""What goes around the network in an exported graph: normalisation in, labels out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ..data.contract import Contract, InputKind, OutputKind
from ..models.foreign_module import ForeignModule
from ..models.segformer import SegFormer, upsample

LABEL_LIMIT_UINT8 = 256


class Wrapped(nn.Module, ABC):
    """A network whose input and outputs are what the contract says.

    Forward: (B,3,H,W) float32 (normalised) or uint8 (raw) → one tensor per head, in the
    contract's order: logits float32 (B,K,H/4,W/4), logits-full float32 (B,K,H,W), or labels
    uint8 (B,H,W) (int32 where K > 256). A depth head has no labels and is returned at full size
    instead; its output is the network's own, sign and scale are post-processing.
    """

    gain: Tensor
    shift: Tensor

    def __init__(self, contract: Contract) -> None:
        """Keep the contract and its normalisation."""
        super().__init__()
        self.contract = contract
        std, mean = torch.tensor(contract.std), torch.tensor(contract.mean)
        self.register_buffer("gain", (contract.scale / std).reshape(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).reshape(1, 3, 1, 1))

    @abstractmethod
    def outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Return the network's own output of each head for a normalised image."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return one tensor per head."""
        image = pixels
        if self.contract.input is InputKind.UINT8:
            image = pixels.float() * self.gain + self.shift
        outputs = self.outputs(image)
        return tuple(self._finish(name, outputs[name], pixels) for name in self.contract.heads)

    def resized(self, logits: Tensor, size: torch.Size) -> Tensor:
        """Return logits (B,K,h,w) at the input's size."""
        return upsample(logits, size, self.contract.align_corners)

    def _finish(self, name: str, logits: Tensor, pixels: Tensor) -> Tensor:
        if self.contract.output is OutputKind.LOGITS:
            return logits
        full = self.resized(logits, pixels.shape[2:])
        if not self.contract.returns_labels(name):
            return full
        if self.contract.threshold is not None:
            cut = math.log(self.contract.threshold / (1 - self.contract.threshold))
            return (full[:, 0] > cut).to(torch.uint8)
        labels = full.argmax(dim=1)
        small = full.shape[1] <= LABEL_LIMIT_UINT8
        return labels.to(torch.uint8 if small else torch.int32)


class ExportModule(Wrapped):
    """A SegFormer with its contract, sharing the model's modules."""

    def __init__(self, model: SegFormer, contract: Contract) -> None:
        """Wrap `model`."""
        super().__init__(contract)
        self.encoder, self.heads = model.encoder, model.heads

    def outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Return the logits of each head at 1/4, whatever `output_stride` the model has."""
        features = self.encoder(image)
        return {name: self.heads[name](features) for name in self.contract.heads}


class ForeignExport(Wrapped):
    """Any network with its contract; `full_size` tells that its outputs have the input's size."""

    def __init__(self, model: ForeignModule, contract: Contract) -> None:
        """Wrap `model`."""
        super().__init__(contract)
        self.model = model

    def outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Return what the network returns for each head."""
        found: dict[str, Tensor] = self.model(image)
        return found

    def resized(self, logits: Tensor, size: torch.Size) -> Tensor:
        """Return logits at the input's size; those that have it stay as they are."""
        return logits if self.model.full_size else super().resized(logits, size)


def wrapped(model: SegFormer | ForeignModule, contract: Contract) -> Wrapped:
    """Return `model` with the contract around it, in evaluation mode."""
    if isinstance(model, SegFormer):
        return ExportModule(model, contract).eval()
    return ForeignExport(model, contract).eval()


def output_axes(contract: Contract) -> dict[str, dict[int, str]]:
    """Return the free dimensions of a dynamic export, per tensor."""
    axes = {"pixels": {0: "batch", 2: "height", 3: "width"}}
    for name in contract.heads:
        names = (1, 2) if contract.returns_labels(name) else (2, 3)
        suffix = "_quarter" if contract.output is OutputKind.LOGITS else ""
        axes[name] = {0: "batch", names[0]: f"height{suffix}", names[1]: f"width{suffix}"}
    return axes
