"""What segship writes, transformers loads, and segship reads back unchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from segship.common.errors import InputError
from segship.data.contract import ChannelOrder, Contract, Resample, ResizeRule
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.hf_write import save_hf_checkpoint
from segship.models.segformer import SegFormer
from segship.models.spec import Eps, HeadKind, HeadSpec, ModelSpec

SPEC = ModelSpec(
    widths=(8, 16, 24, 32),
    depths=(1, 2, 1, 1),
    attention_heads=(1, 2, 3, 4),
    mlp_ratios=(2, 4, 4, 3),
    heads=(HeadSpec(classes=3, width=12),),
)
CONTRACT = Contract(
    size_px=(96, 160),
    resize=ResizeRule.NONE,
    resample=Resample.BICUBIC,
    scale=1 / 128,
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    classes=("road", "sky", "car"),
    palette=((1, 2, 3), (4, 5, 6), (7, 8, 255)),
    ignore_index=7,
    reduce_labels=True,
)


def _model(spec: ModelSpec = SPEC) -> SegFormer:
    torch.manual_seed(5)
    return SegFormer(spec).eval()


def test_transformers_loads_it_whole_and_computes_the_same(
    tmp_path: Path, perturb: Callable[[nn.Module], None]
) -> None:
    from transformers import AutoImageProcessor, SegformerForSemanticSegmentation

    model = _model()
    perturb(model)
    save_hf_checkpoint(model, CONTRACT, tmp_path / "out")
    result: Any = SegformerForSemanticSegmentation.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    loaded, info = result
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    pixels = torch.randn(2, 3, 75, 133)
    with torch.inference_mode():
        want = loaded.eval()(pixel_values=pixels).logits
        got = model(pixels)["segmentation"]
    assert float((got - want).abs().max()) <= 1e-5 * float(want.abs().max())  # the parity bound
    assert loaded.config.id2label == {0: "road", 1: "sky", 2: "car"}
    processor: Any = AutoImageProcessor.from_pretrained(tmp_path / "out")  # type: ignore[no-untyped-call]  # theirs
    assert processor.do_reduce_labels and dict(processor.size) == {"height": 96, "width": 160}


def test_reading_back_gives_the_same_model_and_contract(tmp_path: Path) -> None:
    model = _model()
    save_hf_checkpoint(model, CONTRACT, tmp_path / "out")
    back = load_checkpoint(tmp_path / "out")
    assert back.contract == CONTRACT
    assert replace(back.spec, provenance=SPEC.provenance) == SPEC
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.model.state_dict()[name], tensor), name


def test_a_one_class_contract_comes_back_with_its_threshold(tmp_path: Path) -> None:
    contract = replace(CONTRACT, classes=("nail",), palette=((1, 2, 3),), threshold=0.5)
    spec = replace(SPEC, heads=(HeadSpec(classes=1, width=12),))
    save_hf_checkpoint(_model(spec), contract, tmp_path / "out")
    assert load_checkpoint(tmp_path / "out").contract == contract


@pytest.mark.parametrize("stored", [[[1, 2, 3]], [[1, 2, 300]] * 3, [[1, 2]] * 3, "red", [1, 2, 3]])
def test_a_stored_palette_that_does_not_fit_is_not_used(
    stored: Any, tmp_path: Path, edit_json: Callable[..., None]
) -> None:
    save_hf_checkpoint(_model(), CONTRACT, tmp_path / "out")
    edit_json(tmp_path / "out" / "config.json", palette=stored)
    palette = load_checkpoint(tmp_path / "out").contract.palette
    assert len(palette) == 3 and palette != CONTRACT.palette


@pytest.mark.parametrize(
    ("spec", "contract", "named"),
    [
        ({"heads": (SPEC.head, HeadSpec("depth", 1, 12))}, {}, "more than one head"),
        ({"heads": (replace(SPEC.head, kind=HeadKind.BRANCH_RELU),)}, {}, "ReLU in each branch"),
        ({"heads": (replace(SPEC.head, align_corners=True),)}, {}, "align_corners"),
        ({"heads": (replace(SPEC.head, fuse_bias=True),)}, {}, "a bias in the fuse"),
        ({"heads": (replace(SPEC.head, norm_after_relu=True),)}, {}, "BatchNorm after the ReLU"),
        ({"eps": Eps(block=1e-6)}, {}, "eps other than 1e-5"),
        ({"sr_at_ratio_1": True}, {}, "reduction at ratio 1"),
        ({"output_stride": 1}, {}, "full-resolution output"),
        ({}, {"align_corners": True}, "align_corners"),
        ({}, {"channel_order": ChannelOrder.BGR}, "BGR input"),
        ({}, {"label_map": ((1, 0),)}, "a label map"),
        ({}, {"threshold": 0.4}, "a threshold other than 0.5"),
    ],
)
def test_what_the_layout_cannot_say_is_refused_and_nothing_written(
    spec: dict[str, Any], contract: dict[str, Any], named: str, tmp_path: Path
) -> None:
    model = _model(replace(SPEC, **spec))
    with pytest.raises(InputError, match="layout can express") as caught:
        save_hf_checkpoint(model, replace(CONTRACT, **contract), tmp_path / "out")
    assert named in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_rewritten_model_is_refused(tmp_path: Path) -> None:
    model = _model()
    model.heads["segmentation"].extra = nn.Linear(2, 2)
    with pytest.raises(InputError, match="save the model before any rewrite"):
        save_hf_checkpoint(model, CONTRACT, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="new or empty folder"):
        save_hf_checkpoint(_model(), CONTRACT, tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*.*")] == ["mine.txt"]
