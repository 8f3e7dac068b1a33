"""Every example in a docstring is run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import segship
from segship.common import sizes

MODULES = sorted(
    item.name
    for item in pkgutil.walk_packages(segship.__path__, "segship.")
    if item.name.split(".")[1] not in {"tests", "benchmarks", "docs", "examples", "build"}
)


def test_the_walk_finds_the_rooms_and_only_them() -> None:
    assert {"segship.cli", "segship.data.contract", "segship.models.checkpoints.hf"} <= set(MODULES)
    assert not [name for name in MODULES if "test" in name.rpartition(".")[2].split("_")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_doctests_are_really_collected() -> None:
    assert doctest.testmod(sizes).attempted >= 2
