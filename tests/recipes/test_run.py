"""A recipe followed from the checkpoint to the report, interrupted and resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from segship.benchmark.record import load_record
from segship.cli import segship
from segship.common.errors import InputError
from segship.recipes.run import RecipeResult, run_recipe
from segship.runtimes.doctor import doctor

RECIPE = """\
checkpoint: {checkpoint}
data: scenes:2
output: out
exports:
  - {{name: plain, fold: false}}
  - {{name: rewritten}}
candidates:
  - {{artifact: plain, runtime: onnxruntime, name: before, threads: 1}}
  - {{artifact: rewritten, runtime: onnxruntime, threads: 1}}
  - {{artifact: checkpoint, threads: 1}}
  - {{artifact: plain, runtime: openvino, precision: bf16, if_available: true}}
baseline: before
rounds: 2
starts: 1
"""


@pytest.fixture(scope="module")
def recipe(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe over the tiny checkpoint."""
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(RECIPE.format(checkpoint=tiny_checkpoint), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def first(recipe: Path) -> RecipeResult:
    """The result of the first run."""
    return run_recipe(recipe)


def test_a_run_leaves_artifacts_record_and_reports(first: RecipeResult) -> None:
    names = {item.name for item in first.output.iterdir()}
    wanted = {"plain.onnx", "rewritten.onnx", "record.json", "report.html", "report.md"}
    assert names == wanted | {"steps.json"}
    assert first.skipped == ()
    assert load_record(first.output / "record.json") == first.record
    assert first.record.baseline == "before"
    measured = first.record.measurements
    assert [item.runtime for item in measured][:3] == ["onnxruntime", "onnxruntime", "torch"]
    assert all(item.latency and item.accuracy for item in measured)
    assert measured[0].name in first.report.read_text(encoding="utf-8")


def test_what_this_cpu_cannot_run_is_left_out_and_said(first: RecipeResult) -> None:
    has_bf16 = next(item for item in doctor() if item.topic == "BF16").state.value == "ok"
    assert len(first.record.measurements) == 3 + has_bf16
    assert len(first.left_out) == 1 - has_bf16
    assert all(line.startswith("plain on openvino bf16: ") for line in first.left_out)


def test_resume_does_nothing_again(recipe: Path, first: RecipeResult) -> None:
    before = {item: item.stat().st_mtime_ns for item in first.output.glob("*.onnx")}
    again = run_recipe(recipe, resume=True)
    assert again.record == first.record
    assert len(again.skipped) == 3
    assert {item: item.stat().st_mtime_ns for item in before} == before


def test_resume_repeats_what_changed_and_what_follows(recipe: Path, first: RecipeResult) -> None:
    text = recipe.read_text(encoding="utf-8")
    (first.output / "rewritten.onnx").write_bytes(b"damaged")
    recipe.write_text(text.replace("{name: rewritten}", "{name: rewritten, opset: 20}"), "utf-8")
    command = ["run", str(recipe), "--resume"]
    result = CliRunner().invoke(segship, command)
    recipe.write_text(text, encoding="utf-8")
    assert result.exit_code == 0, result.output
    assert "export plain" in result.stdout and "(done before)" in result.stdout
    assert result.stdout.count("(done before)") == 1
    assert result.stdout.endswith(f"report: {first.report.resolve()}\n")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("scenes:2", "scenes:0", "scenes:0"),
        ("checkpoint: /", "checkpoint: ./gone/", "gone"),
        ("name: plain, fold: false", "name: plain, size: 8", "at least 32 pixels"),
    ],
)
def test_a_wrong_recipe_writes_nothing(
    recipe: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = tmp_path / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        run_recipe(path)
    assert [item.name for item in tmp_path.iterdir()] == ["recipe.yaml"]


def test_a_baseline_this_machine_cannot_run_is_an_error(recipe: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8")
    only = "onnxruntime, precision: bf16, if_available: true, name: before"
    path.write_text(text.replace("onnxruntime, name: before", only), encoding="utf-8")
    with pytest.raises(InputError, match="the baseline cannot run here: plain on onnxruntime"):
        run_recipe(path)
