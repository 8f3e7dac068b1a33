"""ONNX files that others exported: what shapes say, what is assumed, what a sidecar corrects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from segship.common.errors import InputError
from segship.data.contract import Contract, InputKind, OutputKind
from segship.models.checkpoints.settings import sidecar_path
from segship.runtimes.artifact import CONTRACT_KEY
from segship.runtimes.open import load_artifact, open_session

Shape = Sequence[str | int]
Outputs = Mapping[str, tuple[int, Shape]]
FLOAT, INT64, UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8


def _model(path: Path, shape: Shape, outputs: Outputs, dtype: int = FLOAT) -> Path:
    """Save a graph whose declared shapes are what matters; each output is a Cast of the input."""
    nodes = [helper.make_node("Cast", ["pixel_values"], [n], to=t) for n, (t, _) in outputs.items()]
    ends = [helper.make_tensor_value_info(name, t, s) for name, (t, s) in outputs.items()]
    start = [helper.make_tensor_value_info("pixel_values", dtype, shape)]
    opsets = [helper.make_opsetid("", 17)]
    graph = helper.make_graph(nodes, "foreign", start, ends)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


IMAGE = (1, 3, 64, 96)
QUARTER = (FLOAT, (1, 19, 16, 24))
FULL = (FLOAT, (1, 5, 64, 96))


@pytest.mark.parametrize(
    ("shape", "output", "classes", "kind", "size_px"),
    [
        (IMAGE, QUARTER, 19, OutputKind.LOGITS, (64, 96)),
        (IMAGE, FULL, 5, OutputKind.LOGITS_FULL, (64, 96)),
        (("n", 3, "h", "w"), (FLOAT, ("n", 4, "h4", "w4")), 4, OutputKind.LOGITS, (512, 512)),
    ],
    ids=["quarter", "full", "free"],
)
def test_shapes_say_size_classes_and_output(
    tmp_path: Path,
    shape: Shape,
    output: tuple[int, Shape],
    classes: int,
    kind: OutputKind,
    size_px: tuple[int, int],
) -> None:
    artifact = load_artifact(_model(tmp_path / "hf.onnx", shape, {"logits": output}))
    assert artifact.contract.num_classes == classes
    assert (artifact.contract.output, artifact.contract.size_px) == (kind, size_px)
    (assumed,) = artifact.lineage.assumptions
    assert "mean 0.485 0.456 0.406" in assumed and "hf.onnx.segship.yaml" in assumed


def test_a_sidecar_corrects_and_ends_the_assumptions(tmp_path: Path) -> None:
    path = _model(tmp_path / "tao.onnx", IMAGE, {"output": QUARTER})
    sidecar_path(path).write_text(
        "channel_order: rgb\nscale: 1/255\nmean: 0.5\nstd: 0.5\n", encoding="utf-8"
    )
    artifact = load_artifact(path)
    assert artifact.contract.mean == artifact.contract.std == (0.5, 0.5, 0.5)
    (note,) = artifact.lineage.assumptions
    assert note.startswith("set by tao.onnx.segship.yaml")


def test_a_raw_input_needs_no_normalisation(tmp_path: Path) -> None:
    path = _model(tmp_path / "raw.onnx", IMAGE, {"logits": QUARTER}, UINT8)
    artifact = load_artifact(path)
    assert artifact.contract.input is InputKind.UINT8
    assert (
        "mean" not in artifact.lineage.assumptions[0] and "RGB" in artifact.lineage.assumptions[0]
    )


def test_labels_need_their_classes_named(tmp_path: Path) -> None:
    path = _model(tmp_path / "labels.onnx", IMAGE, {"output": (INT64, (1, 1, 64, 96))})
    with pytest.raises(InputError, match=r"classes of .*labels\.onnx.*labels\.onnx\.segship\.yaml"):
        load_artifact(path)
    sidecar_path(path).write_text("classes: [road, lane, background]\n", encoding="utf-8")
    contract = load_artifact(path).contract
    assert (contract.output, contract.num_classes) == (OutputKind.LABELS, 3)


def test_one_channel_is_a_foreground(tmp_path: Path) -> None:
    path = _model(tmp_path / "nail.onnx", IMAGE, {"mask": (FLOAT, (1, 1, 64, 96))})
    contract = load_artifact(path).contract
    assert contract.threshold == 0.5 and contract.num_classes == 2


def test_two_heads_are_told_apart_by_their_channels(tmp_path: Path) -> None:
    outputs = {"b": (FLOAT, (1, 1, 64, 96)), "a": FULL}
    contract = load_artifact(_model(tmp_path / "two.onnx", IMAGE, outputs)).contract
    assert contract.heads == ("depth", "segmentation") and contract.num_classes == 5


def test_three_outputs_must_be_named(tmp_path: Path) -> None:
    outputs = {name: QUARTER for name in ("logits", "aux", "edges")}
    with pytest.raises(InputError, match="the 3 outputs"):
        load_artifact(_model(tmp_path / "three.onnx", IMAGE, outputs))


def test_the_sidecar_also_corrects_our_own_files(tiny_onnx: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_onnx.read_bytes())
    before = load_artifact(path).contract
    sidecar_path(path).write_text("ignore_index: 7\n", encoding="utf-8")
    assert load_artifact(path).contract.ignore_index == 7 != before.ignore_index
    sidecar_path(path).write_text("eps: 1e-6\n", encoding="utf-8")
    with pytest.raises(InputError, match="eps change a network"):
        load_artifact(path)


def test_a_foreign_file_gives_the_labels_our_file_gives(tiny_onnx: Path, tmp_path: Path) -> None:
    """Strip contract and lineage from our own export: with the sidecar it must act the same."""
    ours = load_artifact(tiny_onnx)
    model = onnx.load(tiny_onnx)
    assert any(item.key == CONTRACT_KEY for item in model.metadata_props)
    del model.metadata_props[:]
    path = tmp_path / "stripped.onnx"
    onnx.save(model, path)
    sidecar_path(path).write_text(f"classes: [{', '.join(ours.contract.classes)}]\n")
    theirs = load_artifact(path)
    assert theirs.contract == Contract(
        size_px=ours.contract.size_px, classes=ours.contract.classes, heads=ours.contract.heads
    )
    pixels = np.random.default_rng(0).normal(size=(1, 3, *ours.contract.size_px)).astype(np.float32)
    with (
        open_session(ours, runtime="onnxruntime", threads=1) as one,
        open_session(theirs, runtime="onnxruntime", threads=1) as two,
    ):
        np.testing.assert_array_equal(
            one.run(pixels)["segmentation"], two.run(pixels)["segmentation"]
        )
