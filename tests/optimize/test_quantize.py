"""`quantize`, from checkpoint or ONNX to a file that runs and says what it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from segship.calibration.observers import METHODS as OBSERVED
from segship.cli import segship
from segship.common.cli_quantize import METHODS, PROFILES
from segship.common.errors import CheckFailedError, InputError
from segship.data.contract import InputKind, OutputKind
from segship.optimize.quantize.profile import profile_names
from segship.optimize.quantize.quantize import QuantizeReport, quantize
from segship.runtimes.open import load_artifact, open_session
from segship.tests.optimize.quantize_graphs import constant, kinds

DATA = "scenes:16"
QUICK: dict[str, Any] = {"precision": "int8", "data": DATA, "method": "minmax", "scaling": False}


@pytest.fixture(scope="module")
def report(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> QuantizeReport:
    """The tiny checkpoint, scaled and in INT8 for TensorRT 8."""
    target = tmp_path_factory.mktemp("int8") / "q.onnx"
    return quantize(tiny_checkpoint, target, precision="int8", data=DATA, profile="tensorrt8")


def output_of(path: Path, pixels: NDArray[Any], runtime: str = "onnxruntime") -> NDArray[Any]:
    """The segmentation head's output, copied."""
    with open_session(path, runtime=runtime, precision="fp32", threads=2) as session:
        return np.array(session.run(pixels)["segmentation"])


def noise_db(exact: NDArray[Any], other: NDArray[Any]) -> float:
    """Signal-to-noise ratio of `other`."""
    return float(10 * np.log10(np.square(exact).sum() / np.square(exact - other).sum()))


def test_file_says_what_it_is(report: QuantizeReport, tiny_onnx: Path) -> None:
    found = load_artifact(report.artifact.path)
    assert found.contract == load_artifact(tiny_onnx).contract
    assert found.sha256 == report.artifact.sha256
    lineage = found.lineage
    assert lineage.calibration_sha256 == report.ranges.digest != ""
    assert [note.name for note in lineage.passes][1:3] == ["equalize-weights", "smooth-scaling"]
    last = lineage.passes[-1]
    assert (last.name, last.changed) == (
        "int8",
        sum(row.precision == "int8" for row in report.rows),
    )
    assert lineage.source_sha256 == load_artifact(tiny_onnx).lineage.source_sha256


def test_int8_stays_close_to_float_on_both_runtimes(
    report: QuantizeReport, tiny_onnx: Path, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(1).normal(size=(1, 3, 64, 96)).astype(np.float32)
    exact = output_of(tiny_onnx, pixels)
    other = quantize(tiny_onnx, tmp_path / "q.onnx", **QUICK, profile="cpu-openvino")
    files = {"onnxruntime": report.artifact.path, "openvino": other.artifact.path}
    for runtime, path in files.items():
        # 8 bits give about 40 dB per product; some thirty lie in a row
        assert noise_db(exact, output_of(path, pixels, runtime)) > 20


def test_every_node_is_explained(report: QuantizeReport) -> None:
    assert len(report.rows) > 60
    for row in report.rows:
        assert row.reason and row.part
        if row.precision == "int8":
            assert row.low is not None and row.high is not None and row.low < row.high
            assert row.tensor and row.clipped is not None and 0 <= row.clipped < 0.1
            assert row.weight_sqnr_db is not None and 30 < row.weight_sqnr_db < 60
        else:
            assert row.low is None and row.weight_sqnr_db is None
    json.dumps(report.to_json(), allow_nan=False)


def test_onnx_of_pixels_and_labels_with_free_sizes(tiny_checkpoint: Path, tmp_path: Path) -> None:
    found = quantize(
        tiny_checkpoint,
        tmp_path / "q.onnx",
        **QUICK,
        dynamic=True,
        input_kind=InputKind.UINT8,
        output_kind=OutputKind.LABELS,
    )
    assert found.artifact.contract.input is InputKind.UINT8
    for size in ((64, 96), (75, 133)):
        labels = output_of(found.artifact.path, np.zeros((2, 3, *size), np.uint8))
        assert labels.shape == (2, *size)


def test_onnx_file_is_quantized_as_it_is(tiny_onnx: Path, tmp_path: Path) -> None:
    found = quantize(tiny_onnx, tmp_path / "q.onnx", **{**QUICK, "scaling": True})
    assert any("needs the checkpoint" in note for note in found.notes)
    before = load_artifact(tiny_onnx).lineage.passes
    assert found.artifact.lineage.passes[:-1] == before


def test_foreign_node_names_get_names_and_a_note(tiny_onnx: Path, tmp_path: Path) -> None:
    model = onnx.load(str(tiny_onnx))
    for node in model.graph.node:
        node.name = ""
    path = tmp_path / "foreign.onnx"
    onnx.save(model, str(path))
    found = quantize(path, tmp_path / "q.onnx", **QUICK)
    assert any("by operator" in note for note in found.notes)
    written = onnx.load(str(found.artifact.path))
    assert len(kinds(written, "Conv")) == len(kinds(model, "Conv"))
    assert len(kinds(written, "QuantizeLinear")) > 20


def test_batch_of_a_static_graph_is_fed(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from segship.optimize.export import export

    export(tiny_checkpoint, tmp_path / "two.onnx", batch=2)
    found = quantize(tmp_path / "two.onnx", tmp_path / "q.onnx", **QUICK)
    assert output_of(found.artifact.path, np.zeros((2, 3, 64, 96), np.float32)).shape[0] == 2


def test_everything_in_eight_bits_runs(tiny_onnx: Path, tmp_path: Path) -> None:
    found = quantize(tiny_onnx, tmp_path / "q.onnx", **{**QUICK, "precision": "int8-all"})
    pixels = np.random.default_rng(1).normal(size=(1, 3, 64, 96)).astype(np.float32)
    # every tensor is rounded, so the noise of some hundred roundings adds up
    assert noise_db(output_of(tiny_onnx, pixels), output_of(found.artifact.path, pixels)) > 10


def test_excluded_part_stays_in_float(tiny_onnx: Path, tmp_path: Path) -> None:
    found = quantize(tiny_onnx, tmp_path / "q.onnx", **QUICK, exclude=("classifier",))
    (row,) = [row for row in found.rows if row.part == "classifier"]
    assert (row.precision, row.reason) == ("float", "excluded on request")


def test_ranges_are_kept_and_a_stale_file_is_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    kept = tmp_path / "ranges.json"
    first = quantize(tiny_onnx, tmp_path / "a.onnx", **QUICK, ranges=kept)
    second = quantize(tiny_onnx, tmp_path / "b.onnx", **QUICK, ranges=kept)
    assert first.ranges == second.ranges
    with pytest.raises(InputError, match="stale"):
        quantize(tiny_onnx, tmp_path / "c.onnx", **{**QUICK, "data": "scenes:17"}, ranges=kept)
    assert not (tmp_path / "c.onnx").exists()


def test_unsigned_form_of_openvino(tiny_onnx: Path, tmp_path: Path) -> None:
    found = quantize(tiny_onnx, tmp_path / "q.onnx", **QUICK, profile="cpu-openvino")
    model = onnx.load(str(found.artifact.path))
    (classifier,) = [row for row in found.rows if row.part == "classifier"]
    assert constant(model, f"{classifier.tensor}_zero_point").dtype == np.uint8
    assert any("not faster" in note for note in found.notes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"precision": "int4"}, "int8, int8-all"),
        ({"precision": "mixed"}, "mixed"),
        ({"method": "guess"}, "entropy"),
        ({"profile": "abacus"}, "tensorrt8"),
        ({"images": 0}, "at least 1"),
        ({"max_miou_drop": 0.5}, "--eval"),
        ({"max_miou_drop": -1.0, "evaluation": "scenes:2"}, "0 points or more"),
        ({"evaluation": DATA}, "no evaluation images"),
        ({"data": "random:"}, "random:N"),
        ({"exclude": ("stage 9 q",)}, "stage 9 q"),
    ],
)
def test_wrong_request_leaves_no_file(
    tiny_onnx: Path, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says) as error:
        quantize(tiny_onnx, tmp_path / "q.onnx", **{**QUICK, **changes})
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_quantized_file_is_refused(report: QuantizeReport, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="quantized already"):
        quantize(report.artifact.path, tmp_path / "q.onnx", **QUICK)


def test_source_is_not_overwritten(tiny_onnx: Path) -> None:
    before = tiny_onnx.read_bytes()
    with pytest.raises(InputError, match="another file"):
        quantize(tiny_onnx, tiny_onnx, **QUICK)
    assert tiny_onnx.read_bytes() == before


def test_opset_beyond_the_target_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at most 17"):
        quantize(tiny_checkpoint, tmp_path / "q.onnx", **QUICK, profile="tensorrt8", opset=18)


def test_activation_that_is_not_finite_is_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    model = onnx.load(str(tiny_onnx))
    (first,) = [
        item for item in model.graph.initializer if item.name.endswith("0.patch_embed.norm.bias")
    ]
    first.CopyFrom(onnx.numpy_helper.from_array(np.full(8, np.nan, np.float32), first.name))
    onnx.save(model, str(tmp_path / "nan.onnx"))
    with pytest.raises(InputError, match="finite activations"):
        quantize(tmp_path / "nan.onnx", tmp_path / "q.onnx", **QUICK)
    assert not (tmp_path / "q.onnx").exists()


def test_few_images_and_noise_are_noted(tiny_onnx: Path, tmp_path: Path) -> None:
    few = quantize(tiny_onnx, tmp_path / "a.onnx", **{**QUICK, "images": 3})
    assert any("only 3 calibration images" in note for note in few.notes)
    noise = quantize(tiny_onnx, tmp_path / "b.onnx", **{**QUICK, "data": "random:16"})
    assert any("not to be trusted" in note or "noise" in note for note in noise.notes)


def test_drop_beyond_the_budget_fails_and_keeps_the_file(tiny_onnx: Path, tmp_path: Path) -> None:
    options = {**QUICK, "evaluation": "yaml:none", "max_miou_drop": 0.5}
    with pytest.raises(InputError):
        quantize(tiny_onnx, tmp_path / "q.onnx", **options)
    found = quantize(
        tiny_onnx,
        tmp_path / "q.onnx",
        **{**QUICK, "data": "random:16"},
        evaluation="scenes:2",
        max_miou_drop=100.0,
    )
    assert found.judgement is not None
    found.refuse_drop()
    assert found.to_json()["judgement"]["images"] == 2
    worse = replace(found, judgement=replace(found.judgement, miou=-1.0), max_miou_drop=0.5)
    with pytest.raises(CheckFailedError, match="file was kept"):
        worse.refuse_drop()
    assert found.artifact.path.exists()


def test_command_line(tiny_onnx: Path, tmp_path: Path) -> None:
    arguments = ["quantize", str(tiny_onnx), "-o", str(tmp_path / "q.onnx"), "--data", DATA]
    options = ["--precision", "int8", "--method", "minmax", "--profile", "tensorrt10"]
    result = CliRunner().invoke(segship, [*arguments, *options, "--explain"])
    assert result.exit_code == 0, result.output
    assert "/encoder/stages.3/blocks.0/attn/MatMul_1 " in result.output
    assert "not evaluated" in result.output
    shown = CliRunner().invoke(segship, [*arguments, *options, "--json"])
    assert json.loads(shown.stdout)["profile"] == "tensorrt10"
    refused = CliRunner().invoke(segship, [*arguments, *options, "--opset", "18"])
    assert refused.exit_code == 2 and "leave out --opset" in refused.output


def test_names_on_the_command_line_are_the_ones_there_are() -> None:
    assert set(PROFILES) == {"auto", *profile_names()}
    assert set(METHODS) == set(OBSERVED)


def test_fp16_is_written_and_explained(
    tiny_checkpoint: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    options = {**QUICK, "precision": "fp16", "scaling": True, "profile": "tensorrt8"}
    found = quantize(tiny_checkpoint, tmp_path / "h.onnx", **options)
    names = [note.name for note in found.artifact.lineage.passes]
    assert "fit-fp16" in names and names[-1] == "fp16"
    assert {row.precision for row in found.rows} == {"fp16"}
    products = [row for row in found.rows if row.operator in ("Conv", "MatMul")]
    assert all(row.low is not None and row.sqnr_db is None for row in products)
    pixels = np.random.default_rng(1).normal(size=(1, 3, 64, 96)).astype(np.float32)
    # 11 bits of mantissa give about 66 dB per rounding
    assert noise_db(output_of(tiny_onnx, pixels), output_of(found.artifact.path, pixels)) > 45


def test_scaling_repairs_the_outlier_twin(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from segship.models.checkpoints import load_checkpoint
    from segship.models.checkpoints.hf_write import save_hf_checkpoint
    from segship.optimize.export import export
    from segship.tests.optimize.outlier_twin import outlier_twin

    whole = load_checkpoint(tiny_checkpoint)
    save_hf_checkpoint(outlier_twin(whole.model, seed=3), whole.contract, tmp_path / "twin")
    export(tmp_path / "twin", tmp_path / "float.onnx")
    pixels = np.random.default_rng(1).normal(size=(1, 3, 64, 96)).astype(np.float32)
    exact = output_of(tmp_path / "float.onnx", pixels)
    quality = []
    for scaling in (False, True):
        path = tmp_path / f"{scaling}.onnx"
        quantize(tmp_path / "twin", path, **{**QUICK, "scaling": scaling})
        quality.append(noise_db(exact, output_of(path, pixels)))
    naive, scaled = quality
    # 8 bits through some thirty products give over 20 dB; a spread of 100 costs up to 40 dB
    assert scaled > 20 and scaled > naive + 6
