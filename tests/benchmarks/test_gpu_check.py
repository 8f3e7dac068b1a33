"""`make gpu-check` goes its whole way on the CPU: graphs, times, roofline, accuracy, both files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GRAPHS = [
    f"{graph} {kind}" for graph in ("plain", "rewritten") for kind in ("fp32", "fp16", "int8")
]


def gpu_check(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = str(repository / "benchmarks" / "gpu_check.py")
    return subprocess.run(
        [sys.executable, script, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def rehearsed(
    repository: Path, demo_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder with the two files of a rehearsal of the demo model."""
    out = tmp_path_factory.mktemp("gpu")
    options = "--rehearse --variant demo --size 64x96 --images 4 --scenes 4 --budget 1"
    done = gpu_check(
        repository, *options.split(), "--checkpoint", str(demo_checkpoint), "--out", str(out)
    )
    assert done.returncode == 0, done.stderr
    return out


def test_a_rehearsal_measures_every_graph_beside_torch(rehearsed: Path) -> None:
    content = json.loads((rehearsed / "rehearsal-on-a-cpu.json").read_text(encoding="utf-8"))
    (row,) = content["rows"]
    names = [item["name"] for item in row["record"]["measurements"]]
    assert names == [*GRAPHS, "torch fp32"]
    assert all(item["latency"]["median_ms"] > 0 for item in row["record"]["measurements"])
    scored = {item["name"]: item["accuracy"] for item in content["accuracy"]["measurements"]}
    assert set(scored) == set(GRAPHS)
    assert scored["plain fp32"]["pixel_agreement"] > 0.9999  # the rewrites are exact
    assert scored["rewritten int8"]["pixel_agreement"] > 0.9


def test_its_page_says_that_it_is_none_of_a_gpu(rehearsed: Path) -> None:
    page = (rehearsed / "rehearsal-on-a-cpu.md").read_text(encoding="utf-8")
    assert "say nothing about a GPU" in page and "No roofline" in page
    assert all(f"| {name} |" in page for name in GRAPHS)
    assert "gpu_check.py --rehearse" in page


def test_without_a_gpu_one_line_says_what_is_missing(repository: Path, tmp_path: Path) -> None:
    done = gpu_check(repository, "--out", str(tmp_path))
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: ") and len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_rehearsal_never_goes_where_gpu_numbers_are_kept(repository: Path) -> None:
    done = gpu_check(repository, "--rehearse")
    assert done.returncode == 2 and "--out" in done.stderr
