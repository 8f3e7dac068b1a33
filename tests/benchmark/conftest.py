"""Tiny real models in ONNX (exported here, not by the product) and where the reference lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from segship.benchmark.candidate import Candidate
from segship.data.contract import Contract, InputKind
from segship.data.scenes import SCENE_CLASSES, SCENE_PALETTE
from segship.models.segformer import SegFormer
from segship.models.spec import HeadSpec, ModelSpec
from segship.runtimes.artifact import CONTRACT_KEY, LINEAGE_KEY, Lineage

SIZE_PX = (64, 96)


@dataclass(frozen=True)
class TinyModel:
    """An exported model and what is true of it."""

    path: Path
    contract: Contract
    parameters: int
    seed: int

    def model(self) -> SegFormer:
        """Return the torch model the file was exported from."""
        return tiny_model(self.seed)

    @property
    def candidate(self) -> Candidate:
        """The file on ONNX Runtime, one thread."""
        return Candidate(str(self.path), "onnxruntime", "fp32", threads=1)


class _Graph(nn.Module):
    """The segmentation head's logits of a SegFormer, normalisation inside for uint8 pixels."""

    def __init__(self, model: SegFormer, contract: Contract) -> None:
        super().__init__()
        self.model = model
        self.contract = contract
        self.mean = nn.Parameter(torch.tensor(contract.mean).view(1, 3, 1, 1))
        self.std = nn.Parameter(torch.tensor(contract.std).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        if self.contract.input is InputKind.UINT8:
            pixels = (pixels.float() * self.contract.scale - self.mean) / self.std
        logits: Tensor = self.model(pixels)["segmentation"]
        return logits


def tiny_model(seed: int) -> SegFormer:
    """Return a SegFormer of a few thousand parameters for the scenes' classes."""
    torch.manual_seed(seed)
    spec = ModelSpec(
        widths=(8, 16, 24, 32),
        depths=(1, 1, 1, 1),
        attention_heads=(1, 2, 3, 4),
        heads=(HeadSpec(classes=len(SCENE_CLASSES), width=16),),
    )
    return SegFormer(spec).eval()


def export_tiny(
    path: Path, *, seed: int = 0, dynamic: bool = False, uint8: bool = False
) -> TinyModel:
    """Write a tiny SegFormer as ONNX with contract and lineage inside."""
    contract = Contract(
        size_px=SIZE_PX,
        classes=SCENE_CLASSES,
        palette=SCENE_PALETTE,
        input=InputKind.UINT8 if uint8 else InputKind.FLOAT32,
    )
    model = tiny_model(seed)
    shape = (1, 3, *SIZE_PX)
    pixels = torch.zeros(shape, dtype=torch.uint8) if uint8 else torch.zeros(shape)
    axes = {0: "batch", 2: "height", 3: "width"}
    torch.onnx.export(
        _Graph(model, contract),
        (pixels,),
        str(path),
        input_names=["pixels"],
        output_names=["segmentation"],
        dynamic_axes={"pixels": axes, "segmentation": {0: "batch"}} if dynamic else None,
        opset_version=18,
        dynamo=False,
    )
    parameters = sum(item.numel() for item in model.parameters())
    lineage = Lineage(source=f"tiny-{seed}", variant="custom", parameters=parameters)
    stored = onnx.load(path)
    for key, text in ((CONTRACT_KEY, contract.to_json()), (LINEAGE_KEY, lineage.to_json())):
        stored.metadata_props.add(key=key, value=text)
    onnx.save(stored, path)
    return TinyModel(path, contract, parameters, seed)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TinyModel]:
    """A function: name and export options → tiny model, exported once per session."""
    folder = tmp_path_factory.mktemp("tiny")
    made: dict[str, TinyModel] = {}

    def get(name: str = "plain", **options: bool | int) -> TinyModel:
        if name not in made:
            made[name] = export_tiny(folder / f"{name}.onnx", **options)  # type: ignore[arg-type]  # by name
        return made[name]

    return get
