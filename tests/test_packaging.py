"""What a user gets: the rooms, all of them, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import segship

NOT_ROOMS = {"tests", "benchmarks", "docs", "examples", "build", "dist", "runs"}


def rooms(repository: Path) -> list[Path]:
    """The folders at the root that hold a package."""
    return sorted(
        folder
        for folder in repository.iterdir()
        if (folder / "__init__.py").exists() and folder.name not in NOT_ROOMS
    )


def package_folders(repository: Path) -> set[str]:
    """The dotted name of every folder with a Python file in a room."""
    folders = {file.parent for room in rooms(repository) for file in room.rglob("*.py")}
    return {"segship"} | {
        ".".join(("segship", *folder.relative_to(repository).parts)) for folder in folders
    }


def test_listed_packages_are_the_folders(repository: Path) -> None:
    text = (repository / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^packages = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    assert block
    listed = re.findall(r'"(segship[\w.]*)"', block.group(1))
    assert set(listed) == package_folders(repository)
    assert len(listed) == len(set(listed))


def test_root_holds_two_modules_and_tests_no_package(repository: Path) -> None:
    assert {file.name for file in repository.glob("*.py")} == {"__init__.py", "cli.py"}
    assert not list((repository / "tests").rglob("__init__.py"))


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, without network."""
    pytest.importorskip("setuptools", "77")
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "__init__.py", "cli.py", "py.typed"):
        shutil.copy(repository / name, source / name)
    for room in rooms(repository):
        shutil.copytree(room, source / room.name, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "stray.txt").write_text("must not be packed", encoding="utf-8")
    shutil.copytree(repository / "tests" / "recipes", source / "tests" / "recipes")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-q", "-w", source / "out", source], check=True, cwd=source)
    return next((source / "out").glob("*.whl"))


def test_wheel_holds_the_rooms_and_nothing_else(repository: Path, wheel: Path) -> None:
    wanted = {"segship/__init__.py", "segship/cli.py", "segship/py.typed"}
    for room in rooms(repository):
        for file in room.rglob("*"):
            data = (room.name, file.suffix) in {("profiles", ".yaml"), ("runtimes", ".cu")}
            inside = file.relative_to(repository).parts[:-1]
            if data or file.suffix == ".py" or "templates" in inside:
                wanted.add(f"segship/{file.relative_to(repository).as_posix()}")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry_points = archive.read(
            next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        ).decode()
    assert packed == {name for name in wanted if "__pycache__" not in name}
    assert "segship = segship.cli:main" in entry_points


def test_version_stands_in_one_place(repository: Path, wheel: Path) -> None:
    assert wheel.name.startswith(f"segship-{segship.__version__}-")
    project = (repository / "pyproject.toml").read_text(encoding="utf-8")
    assert segship.__version__ not in project
    assert f"## {segship.__version__}" in (repository / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_dependency_is_pinned(repository: Path) -> None:
    project = (repository / "pyproject.toml").read_text(encoding="utf-8")
    lists = re.search(r"^dependencies = .*?(?=^\[project\.scripts\])", project, re.M | re.S)
    assert lists
    named = {name.lower() for name in re.findall(r'^\s*(?:\w+ = \[)?"([\w.-]+)', lists[0], re.M)}
    assert {"torch", "openvino", "pytest"} <= named
    pins = (repository / "constraints.txt").read_text(encoding="utf-8")
    pinned = {name.replace("-", "_") for name in re.findall(r"^([\w.-]+)==", pins, re.MULTILINE)}
    assert {name.replace("-", "_") for name in named} <= pinned
