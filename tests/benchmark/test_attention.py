"""Attention maps: torch's own weights, head by head; and the refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from segship.benchmark.attention import attention_maps, softmax_outputs
from segship.common.errors import InputError

QUERIES = (16 * 24, 8 * 12, 4 * 6, 2 * 3)  # of the tiny checkpoint at 64x96


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    noise = np.random.default_rng(3).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def changed(source: Path, path: Path, stage: int) -> Path:
    """Write the graph with the softmax of one stage fed twice its scores."""
    model = onnx.load(str(source))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(2.0), "twice"))
    for index, node in enumerate(model.graph.node):
        if node.name == f"/encoder/stages.{stage}/blocks.0/attn/Softmax":
            scores = node.input[0]
            node.input[0] = "doubled"
            model.graph.node.insert(
                index, onnx.helper.make_node("Mul", [scores, "twice"], ["doubled"])
            )
            break
    onnx.save(model, str(path))
    return path


def test_the_maps_are_torchs_own_weights(
    tiny_checkpoint: Path, tiny_onnx: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from segship.data.preprocess import decode, preprocess
    from segship.models.checkpoints import load_checkpoint

    loaded = load_checkpoint(tiny_checkpoint)
    seen: list[torch.Tensor] = []
    softmax = torch.Tensor.softmax

    def record(scores: torch.Tensor, dim: int) -> torch.Tensor:
        seen.append(softmax(scores, dim=dim))
        return seen[-1]

    monkeypatch.setattr(torch.Tensor, "softmax", record)
    pixels = preprocess(decode(photo.read_bytes()), loaded.contract)
    with torch.inference_mode():
        loaded.model(torch.from_numpy(pixels))
    found = attention_maps([tiny_onnx], photo, threads=1)
    assert [(item.stage, item.head) for item in found.heads] == [
        (stage, head) for stage in (1, 2, 3, 4) for head in range(1, stage + 1)
    ]
    for item in found.heads:
        weights = seen[item.stage - 1][0, item.head - 1].numpy()
        assert weights.shape[0] == QUERIES[item.stage - 1]
        wanted = (weights.mean(axis=0) * weights.shape[1]).reshape(2, 3)
        np.testing.assert_allclose(item.maps[0], wanted, atol=2e-5)  # rewrites round otherwise
        assert item.maps[0].mean() == pytest.approx(1.0, abs=1e-5)  # weights sum to 1
        assert item.moved is None


def test_only_what_changed_has_moved(tiny_onnx: Path, photo: Path, tmp_path: Path) -> None:
    other = changed(tiny_onnx, tmp_path / "other.onnx", stage=3)
    found = attention_maps([tiny_onnx, other], photo, threads=1)
    assert found.names == (tiny_onnx.name, "other.onnx")
    assert all(item.moved == 0 for item in found.heads if item.stage < 4)
    assert all(item.moved and 0 < item.moved < 1 for item in found.heads if item.stage == 4)


def test_the_last_block_of_a_stage_counts() -> None:
    names = ("0/blocks.0", "0/blocks.10", "0/blocks.9", "2/blocks.0")
    nodes = [
        onnx.helper.make_node("Softmax", ["x"], [name], name=f"/encoder/stages.{name}/attn/Softmax")
        for name in names
    ]
    graph = onnx.helper.make_graph(nodes, "g", [], [])
    assert softmax_outputs(onnx.helper.make_model(graph)) == {0: "0/blocks.10", 2: "2/blocks.0"}


def test_what_has_no_attention_to_show_is_refused(
    tiny_checkpoint: Path, tiny_onnx: Path, photo: Path, tmp_path: Path
) -> None:
    model = onnx.load(str(tiny_onnx))
    for index, node in enumerate(model.graph.node):
        node.name = f"node_{index}"
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(InputError, match="names no attention"):
        attention_maps([tmp_path / "foreign.onnx"], photo)
    with pytest.raises(InputError, match="export it first"):
        attention_maps([tiny_checkpoint], photo)
    with pytest.raises(InputError, match="but got 3"):
        attention_maps([tiny_onnx] * 3, photo)
    with pytest.raises(InputError, match="a photo"):
        attention_maps([tiny_onnx], tmp_path / "none.png")
