"""What computes around INT8: who decides, at which opset, and the file that comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from click.testing import CliRunner

from segship.cli import segship
from segship.common.cli_options import OPSETS as OFFERED
from segship.common.errors import CheckFailedError, InputError
from segship.data.contract import InputKind
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.hf_write import save_hf_checkpoint
from segship.optimize.export import OPSETS, export
from segship.optimize.quantize.float_type import FLOATS, float_notes, half_around
from segship.optimize.quantize.fp16 import has_half
from segship.optimize.quantize.fp16_int8 import opset_of
from segship.optimize.quantize.profile import profile_names, read_profile
from segship.optimize.quantize.quantize import QuantizeReport, quantize
from segship.optimize.quantize.request import QuantizeRequest
from segship.runtimes.artifact import HALF_QDQ
from segship.runtimes.open import open_session
from segship.tests.optimize.outlier_twin import half_precision_twin
from segship.tests.optimize.quantize_graphs import kinds
from segship.tests.optimize.test_fp16_verdict import images_of

QUICK: dict[str, Any] = {
    "precision": "int8",
    "data": "scenes:4",
    "method": "minmax",
    "scaling": False,
    "profile": "tensorrt10",
}


def asked(profile: str, opset: int, **options: Any) -> bool:
    request = QuantizeRequest(**{"precision": "int8", "data": "scenes:2", **options})
    return half_around(request, read_profile(profile), opset)


def test_auto_is_what_the_target_wants_where_the_opset_has_it() -> None:
    assert asked("tensorrt10", 19) and asked("tensorrt10", 20)
    assert asked("tensorrt10", 19, precision="int8-all")
    assert not asked("tensorrt10", 18) and not asked("tensorrt8", 17)
    assert not asked("tensorrt10", 19, precision="fp16")
    assert not asked("cpu-openvino", 20) and not asked("cpu-onnxruntime", 20)
    assert not asked("tensorrt10", 19, float_type="fp32")
    assert asked("tensorrt8", 17, float_type="fp16")


@pytest.mark.parametrize("profile", ["cpu-openvino", "cpu-onnxruntime"])
def test_half_precision_is_refused_for_a_cpu(profile: str) -> None:
    with pytest.raises(InputError, match="name a --profile of TensorRT"):
        asked(profile, 20, float_type="fp16")


def test_what_deviates_is_said() -> None:
    def notes(opset: int, **options: Any) -> tuple[str, ...]:
        request = QuantizeRequest("int8", "scenes:2", **options)
        return float_notes(request, read_profile("tensorrt10"), opset)

    assert "export with --opset 19" in notes(17)[0]
    assert "between casts" in notes(18, float_type="fp16")[0]
    assert not notes(19) and not notes(17, float_type="fp32")


def test_every_profile_states_an_opset_its_float_type_has() -> None:
    for name in profile_names():
        profile = read_profile(name)
        assert profile.opset in OPSETS and profile.opset <= profile.max_opset
        assert profile.float_type in FLOATS[1:]
        assert profile.float_type == "fp32" or asked(name, profile.opset)
    assert OFFERED == OPSETS


@pytest.mark.parametrize("precision", ["fp16", "mixed"])
def test_a_float_type_is_for_int8(precision: str) -> None:
    with pytest.raises(InputError, match="leave it out"):
        QuantizeRequest(precision, "scenes:2", float_type="fp32")
    with pytest.raises(InputError, match="got 'bf16'"):
        QuantizeRequest("int8", "scenes:2", float_type="bf16")


@pytest.fixture(scope="module")
def report(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> QuantizeReport:
    """The tiny checkpoint, scaled and in INT8 for TensorRT 10, as the command line's defaults."""
    target = tmp_path_factory.mktemp("around") / "q.onnx"
    options: dict[str, Any] = {"precision": "int8", "data": "scenes:8", "profile": "tensorrt10"}
    return quantize(tiny_checkpoint, target, evaluation="scenes:2", allow_overlap=True, **options)


def test_the_file_is_half_precision_at_the_profiles_opset(report: QuantizeReport) -> None:
    model = onnx.load(report.artifact.path)
    assert opset_of(model) == 19 and has_half(model)
    assert len(kinds(model, "Cast")) == 1
    assert HALF_QDQ in report.notes
    passes = [note.name for note in report.artifact.lineage.passes]
    assert passes[1:4] == ["equalize-weights", "smooth-scaling", "fit-fp16"]
    assert passes[-1] == "int8"


def test_a_runtime_that_quantizes_fp16_wrongly_says_so(
    report: QuantizeReport, tiny_onnx: Path
) -> None:
    with open_session(report.artifact, runtime="onnxruntime") as session:
        assert any("truncate" in note for note in session.notes)
    with open_session(tiny_onnx, runtime="onnxruntime") as session:
        assert not session.notes


def test_every_row_says_int8_or_fp16_and_its_range(report: QuantizeReport) -> None:
    assert {row.precision for row in report.rows} == {"int8", "fp16"}
    for row in report.rows:
        assert row.reason and row.part and row.low is not None
    (softmax, *_) = (row for row in report.rows if row.operator == "Softmax")
    assert (softmax.precision, softmax.reason.endswith("; fits")) == ("fp16", True)


def test_it_is_judged_as_hardware_rounds(report: QuantizeReport) -> None:
    assert report.verdict is not None and "every FP16 result rounded" in report.verdict.notes[0]
    assert report.verdict.agreement is not None and report.verdict.agreement > 0.9
    found = report.judgement
    assert found is not None and found.agreement > 0.9
    assert {item.runtime for item in found.record.measurements} == {"onnxruntime"}


def test_a_file_of_opset_17_keeps_single_precision_unless_insisted(
    tiny_onnx: Path, tmp_path: Path
) -> None:
    found = quantize(tiny_onnx, tmp_path / "q.onnx", **QUICK)
    assert not has_half(onnx.load(found.artifact.path))
    assert any("export with --opset 19" in note for note in found.notes)
    other = quantize(tiny_onnx, tmp_path / "h.onnx", **QUICK, float_type="fp16")
    assert has_half(onnx.load(other.artifact.path))
    assert any("between casts" in note for note in other.notes)
    assert other.verdict is not None and other.verdict.agreement is not None
    assert other.verdict.agreement > 0.9


def test_kept_ranges_of_single_precision_are_not_enough(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    source, kept = tmp_path / "m.onnx", tmp_path / "ranges.json"
    export(tiny_checkpoint, source, opset=19)
    quantize(source, tmp_path / "a.onnx", **QUICK, float_type="fp32", ranges=kept)
    with pytest.raises(InputError, match="does not have it: remove it"):
        quantize(source, tmp_path / "b.onnx", **QUICK, ranges=kept)
    assert not (tmp_path / "b.onnx").exists()
    kept.unlink()
    first = quantize(source, tmp_path / "b.onnx", **QUICK, ranges=kept)
    quantize(source, tmp_path / "c.onnx", **QUICK, float_type="fp32", ranges=kept)
    again = quantize(source, tmp_path / "d.onnx", **QUICK, ranges=kept)
    assert again.artifact.sha256 == first.artifact.sha256


def test_raw_pixels_come_in_as_before(tiny_checkpoint: Path, tmp_path: Path) -> None:
    options = {**QUICK, "input_kind": InputKind.UINT8, "dynamic": True}
    found = quantize(tiny_checkpoint, tmp_path / "q.onnx", **options)
    graph = onnx.load(found.artifact.path).graph
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert found.verdict is not None and not found.verdict.not_finite


@pytest.mark.parametrize("scaling", [True, False], ids=["rescaled", "islands"])
def test_a_checkpoint_that_overflows_is_kept(
    demo_checkpoint: Path, tmp_path: Path, scaling: bool
) -> None:
    checkpoint, images = load_checkpoint(demo_checkpoint), images_of(demo_checkpoint, 1)
    model = half_precision_twin(checkpoint.model, torch.from_numpy(images[0]))
    save_hf_checkpoint(model, checkpoint.contract, tmp_path / "twin")
    options = {**QUICK, "data": "scenes:8", "scaling": scaling}
    found = quantize(tmp_path / "twin", tmp_path / "q.onnx", **options)
    single = quantize(tmp_path / "twin", tmp_path / "s.onnx", **options, float_type="fp32")
    assert found.verdict is not None and found.verdict.finite
    assert single.verdict is not None and single.verdict.agreement is not None
    # INT8 alone keeps few labels where channels of 3e5 share a scale with others
    assert (single.verdict.agreement > 0.95) is scaling
    assert found.verdict.agreement == pytest.approx(single.verdict.agreement, abs=0.01)
    left = [row for row in found.rows if row.precision == "fp32" or "FP32 around" in row.reason]
    assert bool(left) is not scaling
    assert all(row.part and row.part.startswith(("head", "classifier")) for row in left)


def test_an_overflow_in_the_file_fails_the_check(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ranges hide the verdict shows: it runs the file as FP16 hardware would."""
    from segship.optimize.quantize import islands

    checkpoint = load_checkpoint(tiny_checkpoint)
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    model = half_precision_twin(checkpoint.model, images)
    export(replace(checkpoint, model=model), tmp_path / "m.onnx", opset=19)
    monkeypatch.setattr(islands, "LIMIT", float("inf"))
    found = quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", **QUICK)
    assert found.verdict is not None and found.verdict.not_finite == 0  # a quantizer hides it
    assert found.verdict.first.startswith("/segmentation/")
    assert not found.verdict.passed and "a quantizer hides" in str(found.verdict)
    with pytest.raises(CheckFailedError, match="first in /segmentation/"):
        found.refuse_drop()


def test_the_command_line_names_the_float_type(tiny_onnx: Path, tmp_path: Path) -> None:
    options = ["--precision", "int8", "--data", "scenes:2", "--profile", "cpu-openvino"]
    target = ["-o", str(tmp_path / "q.onnx"), "--float", "fp16"]
    result = CliRunner().invoke(segship, ["quantize", str(tiny_onnx), *target, *options])
    assert result.exit_code == 2 and "name a --profile of TensorRT" in result.output
    assert not (tmp_path / "q.onnx").exists()
