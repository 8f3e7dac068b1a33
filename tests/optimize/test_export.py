"""Every kind of export against torch, and every refusal without a file left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from segship.common.errors import CheckFailedError, InputError
from segship.data.contract import InputKind, OutputKind
from segship.models.checkpoints import load_checkpoint
from segship.models.segformer import SegFormer
from segship.optimize import export as export_module
from segship.optimize.export import export
from segship.optimize.parity import check_parity
from segship.runtimes.artifact import CONTRACT_KEY, Lineage, PassNote
from segship.runtimes.open import load_artifact, open_session


@pytest.mark.parametrize("opset", [17, 18, 19, 20])
@pytest.mark.parametrize("fold", [True, False], ids=["rewritten", "plain"])
def test_every_opset_equals_torch_and_keeps_layer_norm(
    tiny_checkpoint: Path, tmp_path: Path, opset: int, fold: bool
) -> None:
    report = export(tiny_checkpoint, tmp_path / "m.onnx", opset=opset, fold=fold)
    assert report.parity.passed
    assert 0 < report.parity.heads[0].max_reference
    # 4 patch, 4 stage, 2 per block in 4 blocks, 3 reducers: none decomposed
    assert report.operators["LayerNormalization"] == 19
    assert "ReduceMean" not in report.operators
    assert ("Gelu" if opset == 20 else "Erf") in report.operators
    assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == opset


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("output", list(OutputKind))
@pytest.mark.parametrize("kind", list(InputKind))
def test_every_input_and_output_kind(
    tiny_checkpoint: Path, tmp_path: Path, dynamic: bool, output: OutputKind, kind: InputKind
) -> None:
    path = tmp_path / "m.onnx"
    report = export(
        tiny_checkpoint, path, dynamic=dynamic, output_kind=output, input_kind=kind, opset=18
    )
    artifact = load_artifact(path)
    assert artifact.contract == report.artifact.contract
    assert (artifact.contract.input, artifact.contract.output) == (kind, output)
    with open_session(artifact, runtime="onnxruntime") as session:
        assert session.input.dtype == kind.value
        got = session.run(np.zeros((1, 3, 64, 96), kind.value))["segmentation"]
    classes = artifact.contract.num_classes
    shapes = {
        OutputKind.LOGITS: (1, classes, 16, 24),
        OutputKind.LOGITS_FULL: (1, classes, 64, 96),
        OutputKind.LABELS: (1, 64, 96),
    }
    assert got.shape == shapes[output]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("fold", [True, False], ids=["rewritten", "plain"])
def test_a_dynamic_graph_takes_any_size_and_batch(
    tiny_checkpoint: Path, tmp_path: Path, runtime: str, fold: bool
) -> None:
    path = tmp_path / "m.onnx"
    export(tiny_checkpoint, path, dynamic=True, fold=fold)
    shapes = ((1, 3, 32, 32), (3, 3, 75, 133), (2, 3, 180, 320), (1, 3, 64, 97))
    with open_session(path, runtime=runtime) as session:
        parity = check_parity(load_checkpoint(tiny_checkpoint).model, session, shapes, seed=3)
    assert parity.passed, str(parity)


def test_a_static_graph_of_odd_size_and_batch(tiny_checkpoint: Path, tmp_path: Path) -> None:
    report = export(tiny_checkpoint, tmp_path / "m.onnx", size_px=(75, 133), batch=3)
    assert report.parity.passed
    assert report.parity.shapes == ((3, 3, 75, 133),)


def test_real_images_join_the_check(tiny_checkpoint: Path, tmp_path: Path) -> None:
    report = export(tiny_checkpoint, tmp_path / "m.onnx", data="scenes:9", images=3, batch=2)
    assert report.parity.passed and report.parity.images == 3
    assert "3 real images" in str(report.parity)


def test_rewriting_removes_what_it_says(tiny_checkpoint: Path, tmp_path: Path) -> None:
    plain = export(tiny_checkpoint, tmp_path / "p.onnx", fold=False)
    rewritten = export(tiny_checkpoint, tmp_path / "r.onnx")
    assert plain.operators["Resize"] == 4 and rewritten.operators["Resize"] == 3
    assert rewritten.operators["MatMul"] < plain.operators["MatMul"]
    assert plain.passes == () and [note.name for note in rewritten.passes] == [
        "fold-layer-norm",
        "fuse-attention",
        "mix-ffn-layout",
        "fold-head",
    ]


def test_lineage_names_the_checkpoint_and_survives_in_the_file(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    report = export(tiny_checkpoint, tmp_path / "m.onnx")
    again = load_artifact(tmp_path / "m.onnx").lineage
    assert again == report.artifact.lineage == Lineage.from_json(again.to_json())
    assert again.flavour == "hf" and len(again.source_sha256) == 64
    assert again.passes == report.passes and again.parameters > 1000


def test_a_mismatch_fails_and_keeps_the_file(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict must be able to fail: one weight of the rewritten model is changed."""
    honest = export_module._rewritten

    def tampered(model: SegFormer, *options: Any) -> tuple[SegFormer, tuple[PassNote, ...]]:
        changed, notes = honest(model, *options)
        with torch.no_grad():
            changed.state_dict()["encoder.stages.2.blocks.0.norm1.weight"].mul_(1.01)
        return changed, notes

    monkeypatch.setattr(export_module, "_rewritten", tampered)
    path = tmp_path / "m.onnx"
    with pytest.raises(CheckFailedError, match="DIFFERS from torch"):
        export(tiny_checkpoint, path)
    assert CONTRACT_KEY in {item.key for item in onnx.load(path).metadata_props}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 11}, "Expected an opset of"),
        ({"size_px": (16, 512)}, "at least 32 px"),
        ({"batch": 0}, "batch of at least 1"),
        ({"batch": 2, "dynamic": True}, "none with --dynamic"),
    ],
)
def test_wrong_requests_are_refused_and_write_nothing(
    tiny_checkpoint: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export(tiny_checkpoint, tmp_path / "m.onnx", **options)  # type: ignore[arg-type]  # parametrised
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_refused_before_the_work(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not"):
        export(tiny_checkpoint, tmp_path / "nowhere" / "m.onnx")


def test_real_checkpoint_gives_the_same_labels_in_every_form(
    shared_dir: Path, tmp_path: Path
) -> None:
    source = load_checkpoint(shared_dir / "checkpoints" / "segformer-b0-camvid")
    for fold in (False, True):
        report = export(source, tmp_path / f"{fold}.onnx", fold=fold)
        head = report.parity.heads[0]
        assert head.agreement is not None and head.agreement > 0.9999
        assert head.max_abs <= 1e-5 * head.max_reference  # float32 in another order: 1e-6 seen
