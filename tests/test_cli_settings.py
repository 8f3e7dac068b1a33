"""`--set`, `--save` and what inspect shows of a file that says little of itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner

from segship.cli import segship
from segship.models.checkpoints.setting_keys import KEYS

FlavourFile = Callable[..., Path]


def _run(*arguments: object) -> Any:
    return CliRunner().invoke(segship, [str(item) for item in arguments])


def _inspected(*arguments: object) -> dict[str, Any]:
    result = _run("inspect", *arguments, "--json")
    assert result.exit_code == 0, result.output
    values: dict[str, Any] = json.loads(result.stdout)
    return values


def test_inspect_shows_what_no_tensor_says(flavour_file: FlavourFile) -> None:
    result = _run("inspect", flavour_file("segformer3d"))
    text = " ".join(result.output.split())
    assert "checkpoint, segformer3d" in text
    assert "LayerNorm eps patch 1e-05, sr 1e-05, block 1e-06, stage 1e-06" in text
    assert "mean 0.485 0.56 0.406" in text
    assert "output at the input's size, align_corners off" in text
    assert "output / 10, without its sign" in text


def test_set_changes_model_and_contract_of_an_inspection(flavour_file: FlavourFile) -> None:
    path = flavour_file("mmseg")
    before = _inspected(path)
    after = _inspected(path, "--set", "eps=1e-5", "--set", "channel_order=bgr")
    assert before["network"][0].endswith("block 1e-06, stage 1e-06")
    assert after["network"][0].endswith("block 1e-05, stage 1e-05")
    assert after["contract"]["channel_order"] == "bgr"
    assert "set by --set: eps, channel_order" in after["notes"]
    assert not Path(f"{path}.segship.yaml").exists()


def test_save_keeps_it_for_every_command(flavour_file: FlavourFile, tmp_path: Path) -> None:
    path, out = flavour_file("nvlabs"), tmp_path / "model.onnx"
    kept = _run("inspect", path, "--set", "mean=0.5", "--save")
    assert kept.exit_code == 0 and f"{path.name}.segship.yaml" in kept.output.replace("\n", "")
    _run("inspect", path, "--set", "size=64x96", "--save")  # adds to what was kept
    exported = _run("export", path, "-o", out)
    assert exported.exit_code == 0, exported.output
    contract = _inspected(out)["contract"]
    assert (contract["mean"], contract["size_px"]) == ([0.5, 0.5, 0.5], [64, 96])


def test_export_takes_set_and_writes_it_into_the_file(
    flavour_file: FlavourFile, tmp_path: Path
) -> None:
    out = tmp_path / "model.onnx"
    result = _run("export", flavour_file("sithu"), "-o", out, "--set", "size=64",
                  "--set", "classes=road,lane,car,sky,rest")  # fmt: skip  # as one types it
    assert result.exit_code == 0, result.output
    assert _inspected(out)["contract"]["classes"] == ["road", "lane", "car", "sky", "rest"]
    assert onnx.load(out).graph.input[0].type.tensor_type.shape.dim[2].dim_value == 64


def test_export_says_what_the_reader_decided(flavour_file: FlavourFile, tmp_path: Path) -> None:
    result = _run("export", flavour_file("sithu"), "-o", tmp_path / "m.onnx", "--set", "size=64")
    assert "read as sithu31296's SegFormer (no conv_seg)" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--set", "epz=1"], "did you mean eps?"),
        (["--set", "classes=one,two"], "Expected 5 classes"),
        (["--set", "flavour=tao7"], "tao6"),
        (["--set", "prefix=teacher."], "teacher"),
        (["--save"], "no --set KEY=VALUE was given"),
    ],
)
def test_a_wrong_setting_is_one_line(
    flavour_file: FlavourFile, arguments: list[str], part: str
) -> None:
    path = flavour_file("nvlabs")
    result = _run("inspect", path, *arguments)
    assert result.exit_code == 2 and part in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not Path(f"{path}.segship.yaml").exists()


def test_every_key_is_documented(repository: Path) -> None:
    text = (repository / "docs" / "commands.md").read_text(encoding="utf-8")
    listed = re.search(r"\*\*Keys of `--set`.*?\n\n", text, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"`([a-z_.]+)`", listed[0])) >= set(KEYS)
