"""Recipes: what is read, and every way a file can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from segship.common.errors import InputError
from segship.data.contract import InputKind, OutputKind
from segship.recipes.recipe import load_recipe

GOOD = """\
checkpoint: ./checkpoint
data: scenes:8
output: out
exports:
  - {name: plain, fold: false, opset: 20}
  - {name: small, size: 64x96, input: uint8, output: labels, dynamic: true}
candidates:
  - {artifact: checkpoint}
  - {artifact: plain, runtime: onnxruntime, name: before, threads: 2}
  - {artifact: small, runtime: openvino, precision: bf16, if_available: true}
baseline: before
limit: 4
rounds: 7
starts: 2
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """A function: text → the path of a recipe with it."""

    def make(text: str) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return make


def test_every_field_is_read(write: Callable[[str], Path], tmp_path: Path) -> None:
    recipe = load_recipe(write(GOOD))
    plain, small = recipe.exports
    assert (plain.fold, plain.opset, plain.size_px) == (False, 20, None)
    assert (small.size_px, small.dynamic) == ((64, 96), True)
    assert (small.input, small.output) == (InputKind.UINT8, OutputKind.LABELS)
    torch, before, bf16 = recipe.candidates
    assert (torch.artifact, torch.runtime, torch.if_available) == ("checkpoint", "auto", False)
    assert (before.name, before.threads, bf16.precision) == ("before", 2, "bf16")
    assert bf16.if_available
    assert (recipe.baseline, recipe.limit, recipe.data) == ("before", 4, "scenes:8")
    assert (recipe.rounds, recipe.starts) == (7, 2)
    assert recipe.output == tmp_path / "out"


def test_paths_are_relative_to_the_recipe_and_hub_ids_stay(
    write: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    text = GOOD.replace("./checkpoint", "mine").replace("scenes:8", "folder:my set@val")
    recipe = load_recipe(write(text))
    assert recipe.checkpoint == str(tmp_path / "mine")
    assert recipe.data == f"folder:{tmp_path / 'my set'}@val"
    assert load_recipe(write(GOOD)).checkpoint == str(tmp_path / "checkpoint")
    assert load_recipe(write(GOOD.replace("./checkpoint", "a/b"))).checkpoint == "a/b"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("limit: 4", "limits: 4", r"unknown key 'limits': did you mean 'limit'\?"),
        ("fold: false", "folds: false", r"exports\[0\]: unknown key 'folds': did you mean 'fold'"),
        ("threads: 2", "colour: 2", r"candidates\[1\]: unknown key 'colour': known are artifact"),
        ("limit: 4", "limit: 0", r"limit: expected a whole number of at least 1, but got 0"),
        ("limit: 4", "limit: true", r"limit: expected a whole number of at least 1, but got True"),
        ("fold: false", "fold: 'no'", r"fold: expected true or false, but got 'no'"),
        ("64x96", "64x", r"exports\[1\], size: Expected a size as HEIGHTxWIDTH"),
        ("64x96", "16", r"at least 32 pixels a side, but got 16x16"),
        ("input: uint8", "input: int8", r"input: expected one of float32, uint8, but got 'int8'"),
        ("name: small", "name: plain", r"each name once, but 'plain' stands twice"),
        ("name: small", "name: ../small", r"an export name that can be a file name"),
        ("name: small", "name: checkpoint", r"is not 'checkpoint', but got 'checkpoint'"),
        ("artifact: small", "artifact: smal", r"one of plain, small, checkpoint, but got 'smal'"),
        (
            "baseline: before",
            "baseline: plain",
            r"`name` of a candidate \(before\), but got 'plain'",
        ),
        ("data: scenes:8\n", "", r"expected the key 'data', but it is missing"),
        ("output: out", "output: [1]", r"output: expected text, but got \[1\]"),
        ("checkpoint: ./checkpoint", "checkpoint: {", r"to be a recipe in YAML"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_place(
    write: Callable[[str], Path], old: str, new: str, said: str
) -> None:
    assert old in GOOD
    with pytest.raises(InputError, match=said):
        load_recipe(write(GOOD.replace(old, new)))


@pytest.mark.parametrize("text", ["", "just text", "- a\n- b\n", "exports: []\n"])
def test_what_is_no_recipe_is_refused(write: Callable[[str], Path], text: str) -> None:
    with pytest.raises(InputError, match="recipe.yaml"):
        load_recipe(write(text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_recipe(tmp_path / "none.yaml")
