"""Two heads on one encoder: one file, both outputs, each checked against torch on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segship.common.errors import CheckFailedError
from segship.data.contract import Contract, InputKind, OutputKind
from segship.data.palette import default_palette
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.models.segformer import SegFormer
from segship.models.spec import HeadSpec, ModelSpec
from segship.optimize import export as export_module
from segship.optimize.export import export
from segship.optimize.parity import RELATIVE_TOLERANCE
from segship.optimize.wrapper import ExportModule
from segship.runtimes.artifact import PassNote
from segship.runtimes.open import load_artifact, open_session
from segship.runtimes.session import Session
from segship.runtimes.torch_session import TorchSession

CLASSES, HEIGHT, WIDTH = 5, 64, 96
BOTH = ("segmentation", "depth")


def two_headed(heads: tuple[str, ...] = BOTH, **spec: object) -> Checkpoint:
    """A checkpoint of a random two-headed model whose contract names `heads`."""
    torch.manual_seed(9)
    described = ModelSpec(
        widths=(8, 16, 24, 32),
        depths=(1, 1, 1, 1),
        attention_heads=(1, 2, 3, 4),
        heads=(HeadSpec(classes=CLASSES, width=16), HeadSpec("depth", classes=1, width=16)),
    )
    described = replace(described, **spec)  # type: ignore[arg-type]  # fields of the spec
    model = SegFormer(described).eval().requires_grad_(False)
    for key, buffer in model.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_(0, 0.5)
    model.heads["depth"].get_parameter("classifier.weight").mul_(30)  # depth in metres, not logits
    classes = tuple(f"class_{index}" for index in range(CLASSES))
    contract = Contract(
        size_px=(HEIGHT, WIDTH),
        classes=classes,
        palette=default_palette(CLASSES),
        heads=heads,
        depth_abs=True,
        depth_scale=10.0,
    )
    return Checkpoint(model, described, contract, (), Path("two-heads"))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("output", list(OutputKind))
@pytest.mark.parametrize("kind", list(InputKind))
def test_one_file_returns_both_heads(
    tmp_path: Path, dynamic: bool, output: OutputKind, kind: InputKind
) -> None:
    path = tmp_path / "m.onnx"
    source = two_headed()
    report = export(source, path, dynamic=dynamic, output_kind=output, input_kind=kind)
    assert [head.head for head in report.parity.heads] == list(BOTH)
    labels, depth = report.parity.heads
    assert labels.agreement is not None and depth.agreement is None
    assert 0 < depth.max_reference and depth.max_abs <= RELATIVE_TOLERANCE * depth.max_reference
    assert [note.changed for note in report.passes if note.name == "fold-head"] == [2]
    contract = load_artifact(path).contract
    assert contract.heads == BOTH and contract.depth_abs and contract.depth_scale == 10
    shape = (HEIGHT // 4, WIDTH // 4) if output is OutputKind.LOGITS else (HEIGHT, WIDTH)
    pixels = np.random.default_rng(1).integers(0, 256, (1, 3, HEIGHT, WIDTH)).astype(kind.value)
    want = ExportModule(source.model, contract)(torch.from_numpy(pixels))
    for runtime in ("onnxruntime", "openvino"):
        with open_session(path, runtime=runtime, threads=1) as session:
            assert [item.name for item in session.outputs] == list(BOTH)
            got = session.run(pixels)
            assert list(got) == list(BOTH)
            assert got["depth"].shape == (1, 1, *shape) and got["depth"].dtype == np.float32
            _assert_close(got["depth"], want[1].numpy())
            if output is OutputKind.LABELS:
                assert got["segmentation"].shape == (1, *shape)
                assert got["segmentation"].dtype == np.uint8
            else:
                assert got["segmentation"].shape == (1, CLASSES, *shape)
                _assert_close(got["segmentation"], want[0].numpy())


def _assert_close(got: np.ndarray, want: np.ndarray) -> None:
    # float32 in another order of operations, on raw values up to 255 where the input is uint8
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * np.abs(want).max())


def test_the_sign_of_depth_stays_in_the_graph(tmp_path: Path) -> None:
    source = two_headed()
    export(source, tmp_path / "m.onnx")
    pixels = np.random.default_rng(0).standard_normal((1, 3, HEIGHT, WIDTH)).astype(np.float32)
    with open_session(tmp_path / "m.onnx", runtime="onnxruntime") as session:
        depth = session.run(pixels)["depth"]
    assert depth.min() < 0  # depth_abs is the contract's, applied after the run


@pytest.mark.parametrize("heads", [("depth", "segmentation"), ("depth",), ("segmentation",)])
def test_the_contract_decides_which_heads_and_their_order(
    tmp_path: Path, heads: tuple[str, ...]
) -> None:
    path = tmp_path / "m.onnx"
    source = two_headed(heads)
    export(source, path, output_kind=OutputKind.LABELS)
    pixels = np.random.default_rng(0).standard_normal((1, 3, HEIGHT, WIDTH)).astype(np.float32)
    opened: list[Session] = [TorchSession(source, "fp32", 1)]
    opened += [open_session(path, runtime=name) for name in ("onnxruntime", "openvino")]
    for session in opened:
        with session:
            assert tuple(session.run(pixels)) == heads
            assert tuple(item.name for item in session.outputs) == heads


def test_torch_returns_both_heads() -> None:
    source = two_headed()
    pixels = np.random.default_rng(0).standard_normal((2, 3, 75, 133)).astype(np.float32)
    with TorchSession(source, "fp32", 1) as session:
        got = session.run(pixels)
        assert [(item.name, item.shape[1]) for item in session.outputs] == [
            ("segmentation", CLASSES),
            ("depth", 1),
        ]
    want = source.model(torch.from_numpy(pixels))
    for name in BOTH:
        _assert_close(got[name], want[name].numpy())  # another number of threads


@pytest.mark.parametrize("head", BOTH)
def test_a_difference_in_one_head_alone_fails(
    tmp_path: Path, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each head has its own verdict: a good one may not cover for the other."""
    honest = export_module._rewritten

    def tampered(model: SegFormer, *options: Any) -> tuple[SegFormer, tuple[PassNote, ...]]:
        changed, notes = honest(model, *options)
        with torch.no_grad():
            changed.state_dict()[f"heads.{head}.stages.1.weight"].mul_(1.01)
        return changed, notes

    monkeypatch.setattr(export_module, "_rewritten", tampered)
    with pytest.raises(CheckFailedError, match="DIFFERS from torch"):
        export(two_headed(), tmp_path / "m.onnx")


def test_a_segformer3d_file_on_the_way_to_pictures(
    flavour_file: Callable[..., Path], tmp_path: Path
) -> None:
    """The whole way of seed 001: two-headed weights, one ONNX, labels and depth of a photo."""
    from PIL import Image

    from segship.runtimes.depth_picture import depth_from_output
    from segship.runtimes.predict import predict

    source = flavour_file("segformer3d")
    path = tmp_path / "m.onnx"
    report = export(source, path, size_px=(HEIGHT, WIDTH))
    assert report.parity.passed and report.artifact.contract.heads == BOTH
    assert "full size" in report.notes[-1]  # what its own class returns
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (item,) = predict(path, tmp_path / "a.png", tmp_path / "out", runtime="onnxruntime")
    assert [file.name for file in item.files] == [
        "a_overlay.png",
        "a_labels.png",
        "a_depth.png",
        "a_depth.npy",
    ]
    assert item.depth and item.depth_values
    values = np.load(item.depth_values, allow_pickle=False)
    assert values.shape == (50, 70) and values.dtype == np.float32 and values.min() >= 0
    with open_session(path, runtime="onnxruntime") as session:
        from segship.data.preprocess import preprocess

        output = session.run(preprocess(noise, session.contract))["depth"]
    expected = depth_from_output(output, report.artifact.contract, (50, 70))[0]
    np.testing.assert_array_equal(values, expected)
    with Image.open(item.depth) as picture:
        assert picture.size == (70, 50) and picture.mode == "RGB"


def test_a_depth_only_model_writes_depth_only(tmp_path: Path) -> None:
    from PIL import Image

    from segship.runtimes.predict import predict

    path = tmp_path / "m.onnx"
    export(two_headed(("depth",)), path)
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "a.jpg")
    (item,) = predict(path, tmp_path / "a.jpg", tmp_path / "out", runtime="onnxruntime")
    assert item.labels is None and item.overlay is None
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "a_depth.npy",
        "a_depth.png",
    ]
