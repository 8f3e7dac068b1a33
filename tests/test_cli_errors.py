"""Wrong input: one line, exit code 2, and nothing written."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper
from PIL import Image

from segship.cli import segship
from segship.common.errors import InputError
from segship.common.files import write_text
from segship.data.scenes import SCENE_CLASSES


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; tests refuse with relative paths, as users do."""
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def refuse(command: str, *more: object) -> str:
    """Run a command that must be refused; return the one line it said."""
    before = sorted(Path.cwd().rglob("*"))
    result = CliRunner().invoke(segship, [*command.split(), *map(str, more)])
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert sorted(Path.cwd().rglob("*")) == before, "something was written"
    return result.stderr


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize(
    "command",
    [
        "inspect ./gone",
        "export ./gone -o out.onnx",
        "evaluate ./gone.onnx --data scenes:2 --json r.json",
        "benchmark ./gone.onnx --data scenes:2 --json r.json --html r.html",
        "benchmark ./gone.onnx --sizes 64 --json r.json",
        "report gone.json -o r.html",
        "run gone.yaml",
    ],
)
def test_a_missing_path(command: str) -> None:
    assert "gone" in refuse(command)


@pytest.mark.usefixtures("desk")
def test_missing_images_and_data(tiny_onnx: Path) -> None:
    assert "gone" in refuse("predict", tiny_onnx, "gone.jpg", "-o", "out")
    assert "gone" in refuse("evaluate --data folder:gone --json r.json", tiny_onnx)
    assert "gone" in refuse("evaluate --data camvid:gone@val --json r.json", tiny_onnx)


@pytest.mark.parametrize("command", ["inspect", "export -o out.onnx", "evaluate --data scenes:2"])
def test_a_directory_that_is_no_checkpoint(desk: Path, command: str) -> None:
    (desk / "photos").mkdir()
    (desk / "photos" / "a.jpg").write_bytes(b"\xff\xd8")
    assert "photos" in refuse(command, "photos")


@pytest.mark.parametrize("keep", [0, 7, 1000, -1])
def test_truncated_safetensors(desk: Path, tiny_checkpoint: Path, keep: int) -> None:
    shutil.copytree(tiny_checkpoint, desk / "cut")
    weights = desk / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    assert "model.safetensors" in refuse("export cut -o out.onnx")


class Bomb:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo pwned > pwned",)


def test_a_pickle_that_would_execute_code(desk: Path, tiny_checkpoint: Path) -> None:
    shutil.copytree(tiny_checkpoint, desk / "evil")
    (desk / "evil" / "model.safetensors").unlink()
    (desk / "evil" / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Bomb()}))
    said = refuse("export evil -o out.onnx")
    assert "system" in said
    assert not (desk / "pwned").exists()


def write_onnx(path: Path, shape: list[int], output: list[int]) -> None:
    """Write a graph with one float input that averages it into `output`."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, output)
    node = helper.make_node("GlobalAveragePool", ["image"], ["pooled"])
    flat = helper.make_node("Flatten", ["pooled"], ["scores"])
    graph = helper.make_graph([node, flat], "classifier", [image], [scores])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.mark.parametrize(
    "command", ["inspect", "evaluate --data scenes:2", "benchmark --data scenes:2 --json r.json"]
)
def test_onnx_that_is_no_segmentation_model(desk: Path, command: str) -> None:
    write_onnx(desk / "classifier.onnx", [1, 3, 64, 64], [1, 3])
    assert "classifier.onnx" in refuse(command, "classifier.onnx")


def test_a_file_that_is_no_onnx(desk: Path) -> None:
    (desk / "text.onnx").write_text("hello", encoding="utf-8")
    assert "text.onnx" in refuse("evaluate text.onnx --data scenes:2")


def test_a_label_out_of_range(desk: Path, tiny_onnx: Path) -> None:
    for folder in ("images", "masks"):
        (desk / "mine" / folder).mkdir(parents=True)
    Image.new("RGB", (96, 64)).save(desk / "mine" / "images" / "one.png")
    labels = np.zeros((64, 96), np.uint8)
    labels[5, 7] = len(SCENE_CLASSES) + 3
    Image.fromarray(labels).save(desk / "mine" / "masks" / "one.png")
    said = refuse("evaluate --data folder:mine --json r.json", tiny_onnx)
    assert "one.png" in said
    assert str(len(SCENE_CLASSES) + 3) in said


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("size", ["0", "16", "512x", "x512", "-5x5", "31x512", "1e3", "9999999"])
def test_a_size_that_is_none(tiny_checkpoint: Path, size: str) -> None:
    said = refuse("export -o out.onnx --size", size, tiny_checkpoint)
    assert size in said


@pytest.mark.usefixtures("desk")
def test_a_size_a_static_artifact_does_not_take(tiny_onnx: Path) -> None:
    result = CliRunner().invoke(segship, ["benchmark", str(tiny_onnx), "--sizes", "128"])
    assert result.exit_code == 0  # a sweep says so in the row and goes on
    assert "static" in result.stdout


def test_an_output_that_cannot_be_written(desk: Path, tiny_checkpoint: Path) -> None:
    (desk / "taken").mkdir()
    assert "no_folder" in refuse("export -o no_folder/out.onnx", tiny_checkpoint)
    assert "directory" in refuse("export -o taken", tiny_checkpoint)
    assert "no_folder" in refuse("evaluate --data scenes:2 --html no_folder/r.html", "gone.onnx")
    if Path("/proc").is_dir():  # where not even root may create a file
        assert "/proc/out.onnx" in refuse("export -o /proc/out.onnx", tiny_checkpoint)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(["mount", *options]).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.usefixtures("desk")
def test_a_full_disk(tiny_disk: Path, tiny_checkpoint: Path, tiny_onnx: Path) -> None:
    assert "No space left" in refuse("export -o", tiny_disk / "out.onnx", tiny_checkpoint)
    assert list(tiny_disk.iterdir()) == []
    command = ["evaluate", str(tiny_onnx), "--data", "scenes:2", "--html"]
    result = CliRunner().invoke(segship, [*command, str(tiny_disk / "r.html")])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "No space left" in result.stderr
    assert "mIoU" in result.stdout  # what was measured is printed before it is written
    assert list(tiny_disk.iterdir()) == []


@pytest.mark.usefixtures("desk")
def test_misspelt_commands_and_options() -> None:
    assert "No such command" in refuse("exprot a -o b")
    assert "See `segship export --help`" in refuse("export a")
    assert "--opset" in refuse("export a -o b.onnx --opset 12")
    assert "--bogus" in refuse("--bogus")


@pytest.mark.usefixtures("desk")
def test_report_outputs_and_records(tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("{}", encoding="utf-8")
    assert "no.json" in refuse("report -o r.html", tmp_path / "no.json")
    assert ".html or .md" in refuse("report -o r.pdf", tmp_path / "no.json")
    assert "one record" in refuse("report -o r.md", tmp_path / "no.json", tmp_path / "no.json")


def test_a_device_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="a device or a pipe"):
        write_text(pipe, "{}")
    assert pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]
