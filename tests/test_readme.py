"""The README's commands run, and every link in every page leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from segship.data.scenes import Scenes

BLOCK = re.compile(
    r"(<!-- not run by the tests: (?P<why>[^>]+) -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)```", re.S
)
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")


def blocks(repository: Path, kind: str) -> list[str]:
    """The README's code blocks of a kind that are not excused."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    found = [match for match in BLOCK.finditer(text) if match["kind"] == kind]
    return [match["body"] for match in found if not match["why"]]


@pytest.fixture(scope="module")
def desk(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's relative paths lead to the demo and a photo."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(repository / "examples")
    photos = folder / "photos"
    photos.mkdir()
    (photos / "street.jpg").write_bytes(Scenes(1, "val").image_bytes(0) or b"")
    return folder


def commands(repository: Path) -> list[str]:
    """Every line of the shell blocks, without its comment."""
    lines = "".join(blocks(repository, "sh")).splitlines()
    return [line.partition("  #")[0].strip() for line in lines if line.strip()]


def test_the_commands_run_one_after_the_other(repository: Path, desk: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    listed = commands(repository)
    assert len(listed) >= 8
    for command in listed:
        done = subprocess.run(
            ["bash", "-c", command], cwd=desk, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    made = {"plain.onnx", "model.onnx", "record.json", "report.html", "report.md", "predictions"}
    assert made <= {item.name for item in desk.iterdir()}


def test_the_python_runs(repository: Path, desk: Path) -> None:
    (body,) = blocks(repository, "python")
    done = subprocess.run([sys.executable, "-c", body], cwd=desk, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "equal to torch" in done.stdout


def pages(repository: Path) -> list[Path]:
    """Every Markdown page of the repository."""
    folders = (repository, *(repository / name for name in ("docs", "examples", "benchmarks")))
    found = [*repository.glob("*.md")]
    found += [page for folder in folders[1:] if folder.is_dir() for page in folder.rglob("*.md")]
    return sorted(found)


def test_every_relative_link_leads_somewhere(repository: Path) -> None:
    links = [(page, link) for page in pages(repository) for link in LINK.findall(page.read_text())]
    assert len(links) >= 6
    broken = [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()]
    assert broken == []


def test_every_path_and_target_a_page_names_exists(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    for page in pages(repository):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\bmake ([a-z-]+)", " ".join(re.findall(r"`[^`]+`", text))):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"
        for path in re.findall(r"`((?:\w+/)+\w+\.(?:py|yaml|md))`", text):
            assert (repository / path).exists(), f"{page.name}: {path}"
