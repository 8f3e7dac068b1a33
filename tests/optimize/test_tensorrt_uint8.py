"""UINT8 meets nothing but casts of floats, and no label changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from segship.data.contract import InputKind, OutputKind
from segship.models.checkpoints import load_checkpoint
from segship.models.segformer import SegFormer
from segship.optimize.export import export
from segship.optimize.tensorrt.source import read_source
from segship.optimize.tensorrt.uint8 import route_uint8

UINT8 = onnx.TensorProto.UINT8
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


def _touching_uint8(model: onnx.ModelProto) -> set[tuple[str, bool]]:
    """Operators that read or write UINT8, and whether their other side is a float."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    kinds = {
        item.name: item.type.tensor_type.elem_type
        for item in (*graph.input, *graph.value_info, *graph.output)
    }
    found = set()
    for node in graph.node:
        sides = [kinds.get(name, 0) for name in (*node.input, *node.output)]
        if UINT8 in sides:
            sides.remove(UINT8)
            found.add((node.op_type, all(side in FLOATS for side in sides)))
    return found


def _labels(model: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"pixels": pixels})[0])


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("classes", ["many", "threshold"])
def test_labels_in_the_graph_reach_uint8_through_float(
    tiny_checkpoint: Path, tmp_path: Path, dynamic: bool, classes: str
) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint)
    if classes == "threshold":
        head = replace(checkpoint.spec.heads[0], classes=1)
        torch.manual_seed(0)
        model = SegFormer(replace(checkpoint.spec, heads=(head,))).eval()
        state = model.state_dict()
        state["heads.segmentation.classifier.bias"].zero_()  # both labels occur
        contract = replace(checkpoint.contract, classes=("a",), palette=(), threshold=0.5)
        checkpoint = replace(checkpoint, model=model, spec=model.spec, contract=contract)
    path = tmp_path / "labels.onnx"
    kinds = {"output_kind": OutputKind.LABELS, "input_kind": InputKind.UINT8}
    export(checkpoint, path, dynamic=dynamic, **kinds)  # type: ignore[arg-type]
    before, after = onnx.load(path), onnx.load(path)
    # what TensorRT refuses is there, else this test could not fail
    assert ("Cast", False) in _touching_uint8(before)
    assert (("Shape", False) in _touching_uint8(before)) is dynamic
    assert route_uint8(after) == (1 + 2 * dynamic)
    onnx.checker.check_model(after, full_check=True)
    assert _touching_uint8(after) == {("Cast", True)}
    assert route_uint8(after) == 0
    pixels = np.random.default_rng(4).integers(0, 256, (1, 3, 64, 96)).astype(np.uint8)
    wanted = _labels(before, pixels)
    assert wanted.dtype == np.uint8 and len(np.unique(wanted)) > 1
    np.testing.assert_array_equal(_labels(after, pixels), wanted)


def test_a_build_reads_its_graph_so(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.onnx"
    export(tiny_checkpoint, path, output_kind=OutputKind.LABELS, input_kind=InputKind.UINT8)
    assert _touching_uint8(read_source(path).model) == {("Cast", True)}


def test_a_graph_without_uint8_stays_as_it_is(tiny_onnx: Path) -> None:
    model = onnx.load(tiny_onnx)
    before = model.SerializeToString(deterministic=True)
    assert route_uint8(model) == 0
    assert model.SerializeToString(deterministic=True) == before
