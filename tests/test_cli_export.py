"""What `segship export` writes besides a SegFormer's ONNX file, and which options go together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from segship.cli import segship


def invoke(*arguments: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(segship, [str(item) for item in arguments])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def network(tmp_path: Path) -> tuple[Path, Path]:
    """A file with a network nobody knows, and its weights."""
    code, weights = tmp_path / "net.py", tmp_path / "net.pth"
    code.write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.out = nn.Conv2d(3, classes, 8, 4, 2)\n"
        "    def forward(self, x):\n"
        "        return self.out(x)\n"
    )
    torch.save({f"out.{k}": v for k, v in nn.Conv2d(3, 4, 8, 4, 2).state_dict().items()}, weights)
    return code, weights


def test_to_hf_says_what_was_folded_and_lost(flavour_file: Callable[..., Path], desk: Path) -> None:
    result = invoke("export", flavour_file("tao6"), "--to", "hf", "-o", "out", "--size", "64x96")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    text = " ".join(result.stdout.split())
    assert "folded the bias of the fuse" in text and "lost LayerNorm eps" in text
    assert "logits as transformers computes them differ by" in text
    values = json.loads((desk / "out" / "preprocessor_config.json").read_text(encoding="utf-8"))
    assert values["size"] == {"height": 64, "width": 96}
    again = invoke("export", "out", "-o", "m.onnx")  # and back again
    assert again.exit_code == 0 and "equal to torch" in again.stdout


def test_to_hf_refuses_what_it_cannot_use(tiny_checkpoint: Path, desk: Path) -> None:
    for unused in (
        ("--opset", 17), ("--dynamic",), ("--batch", 1), ("--output", "labels"),
        ("--input", "uint8"), ("--no-fold",), ("--data", "scenes:2"), ("--images", 2),
        ("--explain",), ("--module", "a.py:B"), ("--module-args", "{}"),
    ):  # fmt: skip  # a list of options
        result = invoke("export", tiny_checkpoint, "--to", "hf", "-o", "out", *unused)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"leave out {unused[0]}" in result.stderr and result.stderr.count("\n") == 1
    (desk / "full").mkdir()
    (desk / "full" / "mine.txt").write_text("kept")
    result = invoke("export", "gone", "--to", "hf", "-o", "full")  # before the checkpoint is read
    assert result.exit_code == 2 and "new or empty folder" in result.stderr
    assert [path.name for path in desk.rglob("*")] == ["full", "mine.txt"]


def test_an_impossible_head_is_one_line(flavour_file: Callable[..., Path], desk: Path) -> None:
    result = invoke("export", flavour_file("mmseg"), "--to", "hf", "-o", "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "a ReLU in each branch" in result.stderr and result.stderr.count("\n") == 1
    assert not list(desk.iterdir())


def test_a_module_says_that_it_runs_code(network: tuple[Path, Path], desk: Path) -> None:
    code, weights = network
    given = ("--module", f"{code}:Net", "--module-args", '{"classes": 4}', "--size", "64x96")
    result = invoke("export", weights, *given, "-o", "m.onnx", "--output", "labels")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    text = " ".join(result.stdout.split())
    assert text.startswith(f"runs the code of {code}") and "equal to torch" in text
    assert "assumed" in text and "passes none" in text
    shown = invoke("inspect", "m.onnx")
    assert shown.exit_code == 0, shown.output
    assert "Net" in shown.stdout
    for unused in ("--no-fold", "--explain"):
        refused = invoke("export", weights, *given, "-o", "n.onnx", unused)
        assert refused.exit_code == 2 and f"leave out {unused}" in refused.stderr
    assert not (desk / "n.onnx").exists()


def test_module_arguments_need_a_module(tiny_checkpoint: Path, desk: Path) -> None:
    result = invoke("export", tiny_checkpoint, "-o", "m.onnx", "--module-args", "{}")
    assert result.exit_code == 2 and "leave out --module-args" in result.stderr
    assert not list(desk.iterdir())
