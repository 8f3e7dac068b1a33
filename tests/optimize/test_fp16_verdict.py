"""FP16 of whole networks against FP32: the twin that overflows, rescaled, in islands, and plain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from segship.calibration.channel_maxima import channel_maxima
from segship.calibration.collect import collect_ranges
from segship.calibration.ranges import Ranges
from segship.common.errors import CheckFailedError, InputError
from segship.data.contract import InputKind, OutputKind
from segship.data.loader import prefetch
from segship.data.spec import open_dataset
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.hf_write import save_hf_checkpoint
from segship.models.segformer import SegFormer
from segship.optimize.export import export
from segship.optimize.layer_norm import FoldLayerNorms
from segship.optimize.passes import Pass, Pipeline
from segship.optimize.quantize.fp16 import to_fp16
from segship.optimize.quantize.fp16_rounding import as_hardware
from segship.optimize.quantize.quantize import quantize
from segship.optimize.quantize.verdict import AGREEMENT_FLOOR, compare_artifacts
from segship.optimize.scaling.fp16 import FitFp16
from segship.runtimes.open import load_artifact, open_session
from segship.tests.optimize.outlier_twin import half_precision_twin
from segship.tests.optimize.test_two_heads import two_headed

Images = list[NDArray[Any]]


def images_of(checkpoint: Path, count: int = 6) -> Images:
    """Images of the demo's own kind; the first half calibrates, the second judges."""
    contract = load_checkpoint(checkpoint).contract
    dataset = open_dataset("scenes:8", contract=contract)
    return [item.pixels for item in islice(prefetch(dataset, contract), count)]


def ranges_on(path: Path, images: Images) -> Ranges:
    return collect_ranges(path, None, images, method="minmax", progress=False, sample=64)


def half_of(path: Path, images: Images, **options: Any) -> Path:
    """Convert the file beside itself."""
    target = path.with_suffix(".half.onnx")
    model = onnx.load(path)
    result = to_fp16(model, ranges_on(path, images), **options)
    onnx.checker.check_model(result.model, full_check=True)
    onnx.save(result.model, target)
    return target


def plain_half_of(path: Path, images: Images) -> Path:
    """The same conversion by ranges that hide everything: what a plain one does."""
    known = ranges_on(path, images)
    harmless = {
        name: replace(item, minimum=-1.0, maximum=1.0) for name, item in known.tensors.items()
    }
    model = onnx.load(path)
    for item in model.graph.initializer:  # a plain converter clips constants
        values = onnx.numpy_helper.to_array(item)
        if values.dtype == np.float32:
            held = np.clip(values, -65504, 65504)
            item.CopyFrom(onnx.numpy_helper.from_array(held, item.name))
    target = path.with_suffix(".plain.onnx")
    onnx.save(to_fp16(model, replace(known, tensors=harmless)).model, target)
    return target


@pytest.fixture(scope="module")
def twin(demo_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """(FP32 file of the twin, FP32 file of the twin rescaled, images)."""
    folder = tmp_path_factory.mktemp("twin")
    checkpoint, images = load_checkpoint(demo_checkpoint), images_of(demo_checkpoint)
    model = half_precision_twin(checkpoint.model, torch.from_numpy(images[0]))
    export(replace(checkpoint, model=model), folder / "twin.onnx")
    folded = Pipeline([FoldLayerNorms()]).run(model).model
    passes: list[Pass] = [FitFp16(channel_maxima(folded, images[:3]))]
    fitted = Pipeline([FoldLayerNorms(), *passes]).run(model).model
    assert isinstance(fitted, SegFormer)
    export(replace(checkpoint, model=fitted), folder / "fitted.onnx")
    yield folder / "twin.onnx", folder / "fitted.onnx", images


def test_plain_half_precision_breaks_on_the_twin(twin: tuple[Path, Path, Images]) -> None:
    path, _, images = twin
    verdict = compare_artifacts(path, plain_half_of(path, images[:3]), images[3:])
    assert not verdict.passed
    assert verdict.agreement == 0 and verdict.not_finite > 0
    assert verdict.first.startswith("/segmentation/") and "(head" in verdict.first
    assert "NaN or infinite, first in" in str(verdict)


def test_islands_keep_the_twin(twin: tuple[Path, Path, Images]) -> None:
    path, _, images = twin
    result = to_fp16(onnx.load(path), ranges_on(path, images[:3]))
    # nothing outside the head overflows, and all that stays in FP32 says why
    assert result.islands
    assert all(island.node.startswith("/segmentation/") for island in result.islands)
    assert all(island.reason for island in result.islands)
    verdict = compare_artifacts(path, half_of(path, images[:3]), images[3:])
    assert verdict.passed and verdict.agreement is not None
    assert verdict.agreement >= AGREEMENT_FLOOR


def test_rescaling_by_powers_of_two_removes_every_island(twin: tuple[Path, Path, Images]) -> None:
    path, fitted, images = twin
    result = to_fp16(onnx.load(fitted), ranges_on(fitted, images[:3]))
    assert (result.islands, result.casts) == ((), 2)
    verdict = compare_artifacts(path, half_of(fitted, images[:3]), images[3:])
    assert verdict.passed, verdict


def test_onnx_runtime_alone_would_not_have_seen_it(twin: tuple[Path, Path, Images]) -> None:
    """The reason for `rounded`: the same broken file looks fine on ONNX Runtime's CPU kernels."""
    path, _, images = twin
    broken = plain_half_of(path, images[:3])
    with open_session(broken, runtime="onnxruntime") as session:
        assert compare_artifacts(path, session, images[3:]).not_finite == 0


def test_torch_in_half_precision_breaks_where_the_rounded_graph_does(
    twin: tuple[Path, Path, Images], demo_checkpoint: Path
) -> None:
    """An independent witness that `rounded` is no invention."""
    _, _, images = twin
    model = load_checkpoint(demo_checkpoint).model
    half = half_precision_twin(model, torch.from_numpy(images[0])).half()
    with torch.inference_mode():
        outputs = [half(torch.from_numpy(item).half())["segmentation"] for item in images[3:]]
    assert not all(bool(torch.isfinite(item).all()) for item in outputs)


@pytest.mark.parametrize("kind", list(InputKind))
@pytest.mark.parametrize("output", list(OutputKind))
def test_every_input_and_output_kind(
    tiny_checkpoint: Path, tmp_path: Path, kind: InputKind, output: OutputKind
) -> None:
    path = tmp_path / "m.onnx"
    export(tiny_checkpoint, path, output_kind=output, input_kind=kind, dynamic=True)
    random = np.random.default_rng(1)
    raw = random.integers(0, 256, size=(3, 1, 3, 64, 96), dtype=np.uint8)
    images = [item if kind is InputKind.UINT8 else item.astype(np.float32) / 100 for item in raw]
    half = half_of(path, images)
    artifact = load_artifact(half)
    assert artifact.contract == load_artifact(path).contract  # float32 logits, uint8 labels
    with open_session(half, runtime="onnxruntime") as session:
        assert session.input.dtype == kind.value
        assert session.outputs[0].dtype == ("uint8" if output is OutputKind.LABELS else "float32")
    (head,) = compare_artifacts(path, half, images).heads
    assert (head.max_abs is None) is (output is OutputKind.LABELS)
    # an untrained network, whose classes lie close; measured 0.9989 to 0.9999
    assert head.agreement is not None and head.agreement >= AGREEMENT_FLOOR
    assert half.stat().st_size < 0.75 * path.stat().st_size


def test_an_opset_20_graph(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export(tiny_checkpoint, path, opset=20, fold=False)
    images = [np.random.default_rng(2).normal(size=(1, 3, 64, 96)).astype(np.float32)]
    assert compare_artifacts(path, half_of(path, images), images).not_finite == 0


def test_a_checkpoint_is_compared_with_its_artifact(tiny_checkpoint: Path, tiny_onnx: Path) -> None:
    images = [np.random.default_rng(2).normal(size=(1, 3, 64, 96)).astype(np.float32)]
    verdict = compare_artifacts(tiny_checkpoint, tiny_onnx, images)
    assert verdict.passed and verdict.images == 1 and not verdict.notes
    (head,) = verdict.heads
    # float32 against float32, as optimize/parity.py
    assert head.max_abs is not None and head.max_reference is not None
    assert 0 < head.max_abs <= 1e-4 * head.max_reference


def test_what_is_refused(tiny_checkpoint: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got none"):
        compare_artifacts(tiny_onnx, tiny_onnx, [])
    raw = tmp_path / "raw.onnx"
    export(tiny_checkpoint, raw, input_kind=InputKind.UINT8)
    with pytest.raises(InputError, match="same input and heads"):
        compare_artifacts(tiny_onnx, raw, [])


def test_the_rounded_file_says_what_the_half_file_says(tiny_onnx: Path, tmp_path: Path) -> None:
    images = [np.random.default_rng(2).normal(size=(1, 3, 64, 96)).astype(np.float32)]
    copy = tmp_path / tiny_onnx.name
    copy.write_bytes(tiny_onnx.read_bytes())
    half = half_of(copy, images)
    with as_hardware(half) as found:
        assert found.contract == load_artifact(half).contract
        assert load_artifact(found.path).contract == found.contract
        assert load_artifact(found.path).lineage == load_artifact(half).lineage
        assert found.path != half
    assert not found.path.exists()
    with as_hardware(tiny_onnx) as found:
        assert found.path == tiny_onnx


@pytest.mark.parametrize("scaling", [True, False], ids=["rescaled", "islands"])
def test_quantize_keeps_a_checkpoint_that_overflows(
    demo_checkpoint: Path, tmp_path: Path, scaling: bool
) -> None:
    checkpoint, images = load_checkpoint(demo_checkpoint), images_of(demo_checkpoint, 1)
    model = half_precision_twin(checkpoint.model, torch.from_numpy(images[0]))
    save_hf_checkpoint(model, checkpoint.contract, tmp_path / "twin")
    options: dict[str, Any] = {"precision": "fp16", "data": "scenes:16", "scaling": scaling}
    found = quantize(tmp_path / "twin", tmp_path / "half.onnx", **options)
    assert found.verdict is not None and found.verdict.passed
    left = [row for row in found.rows if row.precision == "fp32"]
    assert bool(left) is not scaling
    assert all("65504" in row.reason or "lies between" in row.reason for row in left)
    done = {note.name: note.changed for note in found.artifact.lineage.passes}
    assert (done.get("fit-fp16", 0) > 0) is scaling
    assert json.loads(json.dumps(found.to_json()))["verdict"]["images"] == found.verdict.images


def test_a_depth_head_has_no_labels_to_agree(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export(two_headed(), path)
    images = [np.random.default_rng(2).normal(size=(1, 3, 64, 96)).astype(np.float32)]
    verdict = compare_artifacts(path, half_of(path, images), images)
    labels, depth = verdict.heads
    assert (labels.agreement, depth.agreement) == (verdict.agreement, None)
    # float16 through five stages of a random network; measured 1e-3
    assert depth.max_abs is not None and depth.max_reference is not None
    assert 0 < depth.max_abs <= 1e-2 * depth.max_reference
    assert "depth: max|Δ|" in str(verdict)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_file_in_half_precision_is_not_converted_again(
    tiny_onnx: Path, tmp_path: Path, precision: str
) -> None:
    copy = tmp_path / tiny_onnx.name
    copy.write_bytes(tiny_onnx.read_bytes())
    images = [np.random.default_rng(2).normal(size=(1, 3, 64, 96)).astype(np.float32)]
    target = tmp_path / "again.onnx"
    with pytest.raises(InputError, match="16 bits already"):
        quantize(half_of(copy, images), target, precision=precision, data="scenes:2")
    assert not target.exists()


def test_a_file_with_outputs_that_are_not_finite_fails_the_check(
    twin: tuple[Path, Path, Images], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    path, _, images = twin
    options: dict[str, Any] = {"precision": "fp16", "data": "scenes:2", "scaling": False}
    found = quantize(tiny_checkpoint, tmp_path / "half.onnx", **options)
    found.refuse_drop()
    broken = compare_artifacts(path, plain_half_of(path, images[:3]), images[3:])
    with pytest.raises(CheckFailedError, match="first in /segmentation/"):
        replace(found, verdict=broken).refuse_drop()
