"""The step cache: what is done again, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from segship.common.errors import InputError
from segship.recipes.steps import STATE_FILE, Steps


class Writer:
    """Work that counts how often it was done."""

    def __init__(self, output: Path) -> None:
        self.output, self.times = output, 0

    def __call__(self) -> None:
        self.times += 1
        self.output.write_text("made", encoding="utf-8")


def test_a_finished_step_is_skipped_only_on_resume(tmp_path: Path) -> None:
    work = Writer(tmp_path / "run" / "out.txt")
    first = Steps.open(tmp_path / "run", resume=False).run("step", {"a": 1}, work.output, work)
    resumed = Steps.open(tmp_path / "run", resume=True)
    assert resumed.run("step", {"a": 1}, work.output, work) == first
    assert (work.times, resumed.skipped) == (1, ["step"])
    Steps.open(tmp_path / "run", resume=False).run("step", {"a": 1}, work.output, work)
    assert work.times == 2


@pytest.mark.parametrize("damage", ["inputs", "content", "missing", "state"])
def test_a_step_is_done_again_when_anything_changed(tmp_path: Path, damage: str) -> None:
    work = Writer(tmp_path / "run" / "out.txt")
    Steps.open(tmp_path / "run", resume=True).run("step", {"a": 1}, work.output, work)
    inputs = {"a": 2} if damage == "inputs" else {"a": 1}
    if damage == "content":
        work.output.write_text("other", encoding="utf-8")
    if damage == "missing":
        work.output.unlink()
    if damage == "state":
        (tmp_path / "run" / STATE_FILE).write_text("{", encoding="utf-8")
    steps = Steps.open(tmp_path / "run", resume=True)
    steps.run("step", inputs, work.output, work)
    assert (work.times, steps.skipped) == (2, [])


def test_an_interrupted_step_is_not_done(tmp_path: Path) -> None:
    work = Writer(tmp_path / "run" / "out.txt")
    Steps.open(tmp_path / "run", resume=True).run("step", {}, work.output, work)

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Steps.open(tmp_path / "run", resume=True).run("other", {}, work.output, interrupted)
    steps = Steps.open(tmp_path / "run", resume=True)
    assert set(steps.done) == {"step"}


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years", encoding="utf-8")
    with pytest.raises(InputError, match=r"holds thesis\.tex"):
        Steps.open(tmp_path, resume=False)
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.tex"]
