"""Models of transformers, the oracle these tests compare with, and checkpoints of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from segship.common.errors import InputError
from segship.models.checkpoints import load_checkpoint
from segship.models.spec import VARIANTS

HfModel = Callable[..., nn.Module]


def _hf_model(**config: Any) -> nn.Module:
    """Return a transformers SegFormer with every parameter and BN statistic perturbed."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    tiny = {
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 2, 1, 1],
        "num_attention_heads": [1, 2, 3, 4],
        "decoder_hidden_size": 16,
        "num_labels": 3,
    }
    torch.manual_seed(7)
    model: nn.Module = SegformerForSemanticSegmentation(SegformerConfig(**{**tiny, **config}))
    _perturb(model)
    return model.eval()


def _hf_variant(name: str, classes: int = 19) -> nn.Module:
    """Return a perturbed transformers model of variant B0 to B5."""
    widths, depths, head_width = VARIANTS[name]
    heads = [width // widths[0] for width in widths]
    return _hf_model(
        hidden_sizes=list(widths),
        depths=list(depths),
        num_attention_heads=heads,
        decoder_hidden_size=head_width,
        num_labels=classes,
    )


def _perturb(model: nn.Module) -> None:
    """Give weights the scale of a trained net and move every vector off its initial value."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn_like(parameter) / fan_in**0.5)
            else:
                parameter.add_(0.2 * torch.randn_like(parameter))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.3)  # type: ignore[arg-type]  # a tensor here
                nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]  # a tensor here


def _edit_json(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file; None removes a key."""
    values = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    values.update(changes)
    kept = {key: value for key, value in values.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def _refused(source: Path | str, *parts: str, watch: Path | None = None) -> None:
    """Assert that loading fails with one line holding every part, and changes no file."""
    watch = watch or Path(source)
    root = watch if watch.is_dir() else watch.parent
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    with pytest.raises(InputError) as caught:
        load_checkpoint(source)
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert caught.value.exit_code == 2 and "\n" not in message and len(message) < 600
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.fixture
def refused() -> Callable[..., None]:
    """A function that asserts that loading a source fails in one line with the given parts."""
    return _refused


@pytest.fixture
def hf_model() -> HfModel:
    """A function: config keys → perturbed tiny transformers model."""
    return _hf_model


@pytest.fixture
def hf_variant() -> HfModel:
    """A function: variant name → perturbed transformers model."""
    return _hf_variant


@pytest.fixture
def perturb() -> Callable[[nn.Module], None]:
    """A function that moves every parameter and BN statistic off its initial value."""
    return _perturb


@pytest.fixture
def edit_json() -> Callable[..., None]:
    """A function: path, key=value → the JSON file with those keys set (None removes)."""
    return _edit_json


@pytest.fixture(scope="session")
def saved_tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A tiny perturbed transformers model and the folder save_pretrained wrote; do not change."""
    model = _hf_model()
    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    model.save_pretrained(folder)  # type: ignore[operator]  # nn.Module does not declare it
    return model, folder


@pytest.fixture
def tiny(saved_tiny: tuple[nn.Module, Path], tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint that a test may damage."""
    return Path(shutil.copytree(saved_tiny[1], tmp_path / "checkpoint"))


@pytest.fixture
def big_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for hundreds of megabytes, removed at once (pytest keeps its own for days)."""
    folder = tmp_path / "big"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def camvid_checkpoint(shared_dir: Path) -> Path:
    """The real trained checkpoint beside the repository."""
    return shared_dir / "checkpoints" / "segformer-b0-camvid"
