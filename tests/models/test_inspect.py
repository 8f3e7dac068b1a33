"""Counts against the tables of research/performance.md 1.1, 1.3 and research/checkpoints.md 2."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segship.common.errors import InputError
from segship.models.inspect import Complexity, inspect_model
from segship.models.segformer import SegFormer
from segship.models.spec import ModelSpec, variant_spec

TABLE_ROUNDING = 0.005  # relative: the tables print three to five digits


def _cost(variant: str, classes: int, size_px: tuple[int, int]) -> Complexity:
    with torch.device("meta"):  # shapes only: B5 would need 340 MB
        model = SegFormer(variant_spec(variant, classes))
    return inspect_model(model, size_px)


def _gmacs(cost: Complexity, *endings: str) -> float:
    return sum(part.gmacs for part in cost.parts if part.name.endswith(endings))


@pytest.mark.parametrize(
    ("variant", "classes", "size_px", "total"),
    [
        ("B0", 150, (512, 512), 8.39),
        ("B1", 150, (512, 512), 15.88),
        ("B2", 150, (512, 512), 62.34),
        ("B3", 150, (512, 512), 78.96),
        ("B4", 150, (512, 512), 95.57),
        ("B5", 150, (640, 640), 183.1),
        ("B5", 150, (512, 512), 111.5),
        ("B0", 19, (1024, 2048), 120.96),
        ("B2", 19, (1024, 1024), 289.5),
    ],
)
def test_gmacs_are_those_of_the_tables(
    variant: str, classes: int, size_px: tuple[int, int], total: float
) -> None:
    assert _cost(variant, classes, size_px).gmacs == pytest.approx(total, rel=TABLE_ROUNDING)


def test_parts_of_b0_and_b2_are_those_of_the_table() -> None:
    b0 = _cost("B0", 19, (512, 1024))
    linear = ("patch embedding", "attention linear", "reduction", "ffn linear", "depthwise")
    assert _gmacs(b0, *linear) == pytest.approx(4.33, rel=TABLE_ROUNDING)
    assert _gmacs(b0, "attention matmul") == pytest.approx(4.16, rel=TABLE_ROUNDING)
    assert _gmacs(b0, "project") == pytest.approx(0.52, rel=TABLE_ROUNDING)
    assert _gmacs(b0, "fuse") == pytest.approx(8.59, rel=TABLE_ROUNDING)
    assert _gmacs(b0, "classifier") == pytest.approx(0.16, abs=0.005)  # two digits printed
    b2 = _cost("B2", 150, (512, 512))
    assert _gmacs(b2, "attention matmul") == pytest.approx(3.89, rel=TABLE_ROUNDING)
    assert _gmacs(b2, "fuse") == pytest.approx(38.65, rel=TABLE_ROUNDING)


@pytest.mark.parametrize(
    ("variant", "millions", "keys"),
    [
        ("B0", "3.719", 208),
        ("B1", "13.682", 208),
        ("B2", "27.361", 380),
        ("B3", "47.237", 644),
        ("B4", "64.008", 930),
        ("B5", "84.608", 1172),
    ],
)
def test_parameters_and_keys_are_those_of_the_table(variant: str, millions: str, keys: int) -> None:
    cost = _cost(variant, 19, (64, 64))
    assert f"{cost.parameters / 1e6:.3f}" == millions
    with torch.device("meta"):
        assert len(SegFormer(variant_spec(variant)).state_dict()) == keys


def test_parts_add_up_and_each_has_a_name() -> None:
    cost = _cost("B1", 19, (96, 160))
    assert sum(part.parameters for part in cost.parts) == cost.parameters
    assert sum(part.gmacs for part in cost.parts) == pytest.approx(cost.gmacs)
    assert not [part.name for part in cost.parts if "other" in part.name]
    names = [part.name for part in cost.parts]
    assert names[0] == "stage 1 patch embedding" and names[-1] == "head segmentation classifier"


def test_one_small_convolution_counted_by_hand() -> None:
    cost = _cost("B0", 19, (64, 64))
    patch = next(part for part in cost.parts if part.name == "stage 1 patch embedding")
    assert patch.gmacs == pytest.approx(16 * 16 * 32 * 3 * 7 * 7 / 1e9)
    assert patch.parameters == 32 * 3 * 7 * 7 + 32 + 2 * 32  # weight, bias, norm


def test_a_replaced_head_is_counted_by_what_it_does() -> None:
    model = SegFormer(variant_spec("B0"))

    class Cheap(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = nn.Conv2d(32, 5, 1, bias=False)

        def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
            logits: torch.Tensor = self.classifier(features[0])
            return logits

    before = inspect_model(model, (64, 64))
    model.heads["segmentation"] = Cheap()
    after = inspect_model(model, (64, 64))
    head = [part for part in after.parts if part.name.startswith("head")]
    assert [(part.name, part.parameters) for part in head] == [
        ("head segmentation classifier", 160)
    ]
    assert head[0].gmacs == pytest.approx(16 * 16 * 32 * 5 / 1e9)
    stages = [part for part in before.parts if part.name.startswith("stage")]
    assert after.parts[: len(stages)] == tuple(stages)


def test_the_model_itself_is_left_alone() -> None:
    model = SegFormer(ModelSpec())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inspect_model(model, (32, 64))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_an_input_smaller_than_one_cell_is_refused() -> None:
    with pytest.raises(InputError, match=r"at least 32 pixels a side, but got 31x64"):
        inspect_model(SegFormer(ModelSpec()), (31, 64))
