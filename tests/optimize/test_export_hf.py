"""Back to transformers: what folds is equal, what is lost is said, what cannot be is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segship.common.errors import CheckFailedError, InputError
from segship.data.contract import ChannelOrder, Contract, Resample, ResizeRule
from segship.data.preprocess import preprocess
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.models.segformer import SegFormer
from segship.models.spec import Eps, HeadKind, HeadSpec, ModelSpec, Provenance
from segship.optimize import export_hf as export_hf_module
from segship.optimize.export_hf import export_hf
from segship.optimize.hf_form import HfForm, hf_form

HEAD = HeadSpec(classes=3, width=12)
SPEC = ModelSpec(
    widths=(8, 16, 24, 32),
    depths=(1, 1, 1, 1),
    attention_heads=(1, 2, 3, 4),
    heads=(HEAD,),
    provenance=Provenance("course", "runs/best.pth", "ab" * 32),
)
CONTRACT = Contract(
    size_px=(64, 96),
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    resample=Resample.NEAREST,
    classes=("road", "sky", "car"),
    palette=((1, 2, 3), (4, 5, 6), (7, 8, 9)),
    ignore_index=19,
)
PARITY = 1e-5  # float32 in another order of operations, relative to the largest logit


def checkpoint(contract: Contract = CONTRACT, head: HeadSpec = HEAD, **spec: Any) -> Checkpoint:
    """A random model whose every parameter and BN statistic matters."""
    described = replace(SPEC, **{"heads": (head,), **spec})
    torch.manual_seed(2)
    model = SegFormer(described).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    for key, buffer in model.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_(0, 0.5)
        if key.endswith("running_var"):
            buffer.uniform_(0.2, 3)
    return Checkpoint(model, described, contract, ("a note",), Path("nowhere"))


def transformers_logits(folder: Path, pixels: torch.Tensor) -> torch.Tensor:
    """What transformers computes from a folder it must load without a word."""
    from transformers import SegformerForSemanticSegmentation

    result: Any = SegformerForSemanticSegmentation.from_pretrained(folder, output_loading_info=True)
    loaded, info = result
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.inference_mode():
        logits: torch.Tensor = loaded.eval()(pixel_values=pixels).logits
    return logits


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    """Largest difference over the largest value of `want`."""
    assert got.shape == want.shape
    return float((got - want).abs().max() / want.abs().max())


@pytest.mark.parametrize(
    ("head", "folds"),
    [
        (HEAD, 0),
        (replace(HEAD, fuse_bias=True), 1),
        (replace(HEAD, norm_after_relu=True), 1),
        (replace(HEAD, norm_after_relu=True, fuse_bias=True), 2),
    ],
    ids=["plain", "fuse-bias", "norm-after-relu", "both"],
)
def test_what_folds_exactly_computes_the_same_in_transformers(
    tmp_path: Path, head: HeadSpec, folds: int
) -> None:
    source = checkpoint(head=head)
    report = export_hf(source, tmp_path / "out")
    assert len(report.folds) == folds and report.losses == ()
    assert report.difference.relative <= PARITY
    pixels = torch.randn(2, 3, 75, 133)
    got = transformers_logits(tmp_path / "out", pixels)
    assert relative(got, source.model(pixels)["segmentation"]) <= PARITY


def test_a_bgr_model_becomes_an_rgb_one(tmp_path: Path) -> None:
    source = checkpoint(replace(CONTRACT, channel_order=ChannelOrder.BGR))
    report = export_hf(source, tmp_path / "out")
    assert report.losses == () and "BGR" in report.folds[0]
    back = load_checkpoint(tmp_path / "out")
    assert back.contract.channel_order is ChannelOrder.RGB
    assert back.contract.mean == CONTRACT.mean[::-1] and back.contract.std == CONTRACT.std[::-1]
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    want = source.model(torch.from_numpy(preprocess(photo, source.contract)))["segmentation"]
    got = transformers_logits(tmp_path / "out", torch.from_numpy(preprocess(photo, back.contract)))
    assert relative(got, want) <= PARITY


def test_the_folder_is_a_plain_checkpoint_with_a_record(tmp_path: Path) -> None:
    source = checkpoint()
    report = export_hf(source, tmp_path / "out", size_px=(96, 64))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "segship.json",
    ]
    back = load_checkpoint(tmp_path / "out")
    assert back.contract == replace(CONTRACT, size_px=(96, 64))
    record = json.loads((tmp_path / "out" / "segship.json").read_text(encoding="utf-8"))
    assert Contract.from_json(json.dumps(record["contract"])) == replace(CONTRACT, size_px=(96, 64))
    assert ModelSpec.from_json(record["spec"]) == source.spec
    assert record["losses"] == list(report.losses) and record["notes"] == ["a note"]


LOSSES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("eps", {"eps": Eps(block=1e-6, stage=1e-6)}, {}, "eps (block 1e-06, stage 1e-06)"),
    ("branches", {"head": replace(HEAD, align_corners=True)}, {}, "branches up-sampled"),
    ("post", {}, {"align_corners": True}, "logits resized to the image with align_corners=True"),
    ("full", {"output_stride": 1}, {}, "logits at full size"),
    ("label-map", {}, {"label_map": ((7, 0), (8, 1))}, "the label map"),
    ("depth", {"heads": (HEAD, HeadSpec("depth", 1, 12))}, {}, "dropped: the depth head"),
]


@pytest.mark.parametrize(("spec", "contract", "said"), [row[1:] for row in LOSSES],
                         ids=[row[0] for row in LOSSES])  # fmt: skip  # the table's first column
def test_a_loss_is_named_recorded_and_as_large_as_stated(
    tmp_path: Path, spec: dict[str, Any], contract: dict[str, Any], said: str
) -> None:
    source = checkpoint(replace(CONTRACT, **contract), **spec)
    report = export_hf(source, tmp_path / "out")
    assert len(report.losses) == 1 and said in report.losses[0]
    record = json.loads((tmp_path / "out" / "segship.json").read_text(encoding="utf-8"))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert record["losses"] == list(report.losses) and report.losses[0] in card
    assert report.difference.weights_only <= PARITY
    pixels = torch.randn(1, 3, 96, 64)
    with torch.inference_mode():
        want = source.model.heads["segmentation"](source.model.encoder(pixels))
    measured = relative(transformers_logits(tmp_path / "out", pixels), want)
    if "eps" in said or "branches" in said:
        assert measured > PARITY / 10 and report.difference.relative > PARITY / 10
        assert measured <= 10 * report.difference.relative  # other pixels, the same size of error
    else:
        assert measured <= PARITY


@pytest.mark.parametrize("threshold", [0.5, 0.39])
def test_a_one_class_head_keeps_its_logits_and_says_what_is_lost(
    tmp_path: Path, threshold: float
) -> None:
    contract = replace(
        CONTRACT, classes=("background", "nail"), palette=((0, 0, 0), (9, 9, 9)),
        threshold=threshold,
    )  # fmt: skip  # one contract
    source = checkpoint(contract, replace(HEAD, classes=1))
    report = export_hf(source, tmp_path / "out")
    assert len(report.losses) == 1 and f"threshold {threshold}" in report.losses[0]
    pixels = torch.randn(1, 3, 64, 64)
    got = transformers_logits(tmp_path / "out", pixels)
    assert relative(got, source.model(pixels)["segmentation"]) <= PARITY
    assert load_checkpoint(tmp_path / "out").contract.classes == ("nail",)


@pytest.mark.parametrize(
    ("spec", "contract", "said"),
    [
        ({"head": replace(HEAD, kind=HeadKind.BRANCH_RELU)}, {}, "a ReLU in each branch"),
        ({"sr_at_ratio_1": True}, {}, "a reducer at ratio 1"),
        ({"head": HeadSpec("depth", 1, 12)}, {"heads": ("depth",)}, "segmentation head"),
    ],
)
def test_the_impossible_is_refused_and_nothing_written(
    tmp_path: Path, spec: dict[str, Any], contract: dict[str, Any], said: str
) -> None:
    source = checkpoint(replace(CONTRACT, **contract), **spec)
    with pytest.raises(InputError, match=said) as caught:
        export_hf(source, tmp_path / "out")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_what_preprocessor_config_can_say_is_kept(tmp_path: Path) -> None:
    contract = replace(
        CONTRACT, resize=ResizeRule.NONE, resample=Resample.BICUBIC, scale=1 / 128,
        reduce_labels=True,
    )  # fmt: skip  # one contract
    report = export_hf(checkpoint(contract), tmp_path / "out")
    assert report.losses == () and load_checkpoint(tmp_path / "out").contract == contract


def test_the_model_that_was_given_is_left_alone(tmp_path: Path) -> None:
    source = checkpoint(
        replace(CONTRACT, channel_order=ChannelOrder.BGR),
        replace(HEAD, norm_after_relu=True, fuse_bias=True),
    )
    before = {name: tensor.clone() for name, tensor in source.model.state_dict().items()}
    export_hf(source, tmp_path / "out")
    after = source.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_wrong_fold_fails_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check must be able to fail: one folded weight is changed."""

    def tampered(model: SegFormer, contract: Contract) -> HfForm:
        form = hf_form(model, contract)
        form.weights_only.state_dict()["heads.segmentation.classifier.weight"].mul_(1.001)
        return form

    monkeypatch.setattr(export_hf_module, "hf_form", tampered)
    with pytest.raises(CheckFailedError, match="differ by"):
        export_hf(checkpoint(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "note", "found"),
    [
        ("nvidia/segformer-b0", "These weights come from NVIDIA's.", "NVIDIA's SegFormer"),
        ("me/mine", "The model card states the licence mit.", "Origin of the weights unknown"),
    ],
)
def test_the_licence_note_survives(tmp_path: Path, source: str, note: str, found: str) -> None:
    origin = Provenance("hf", source, "ab" * 32, note)
    report = export_hf(checkpoint(provenance=origin), tmp_path / "out")
    assert report.licence_note == note
    assert note in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert found in load_checkpoint(tmp_path / "out").spec.provenance.licence_note


def test_a_card_names_the_licence_of_known_weights_and_no_folder_of_the_user(
    tmp_path: Path,
) -> None:
    note = "These weights come from NVIDIA's SegFormer checkpoints."
    origin = Provenance("nvlabs", "/home/me/secret/best.pth", "ab" * 32, note)
    export_hf(checkpoint(provenance=origin), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "license_name: nvidia-source-code-license" in card
    assert "`best.pth`" in card and "secret" not in card


def test_a_tao_file_becomes_a_transformers_model(
    flavour_file: Callable[..., Path], tmp_path: Path
) -> None:
    source = load_checkpoint(flavour_file("tao6"))
    report = export_hf(source, tmp_path / "out")
    assert any("bias of the fuse" in fold for fold in report.folds)
    pixels = torch.randn(1, 3, 64, 96)
    got = transformers_logits(tmp_path / "out", pixels)
    # TAO computes with eps 1e-6 in blocks: the stated loss, far below one wrong weight (1e-1)
    assert relative(got, source.model(pixels)["segmentation"]) <= 1e-3
