"""The example of a gate in CI: its files fit together, and its own script proves it end to end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from segship.benchmark.gate.policy import OF_NO_HOST, load_policy
from segship.benchmark.record import load_record
from segship.recipes.recipe import load_recipe


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "examples" / "ci"


def read(file: Path) -> dict[Any, Any]:
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values


def test_another_machines_baseline_is_asked_for_nothing_it_cannot_say(folder: Path) -> None:
    policy, speed = load_policy(folder / "gate.yaml"), load_policy(folder / "speed.yaml")
    assert policy.hosts == "any" and {it.quantity for it in policy.budgets} <= OF_NO_HOST
    assert not {it.quantity for it in speed.budgets} & OF_NO_HOST


def test_the_baseline_is_a_whole_record_of_the_recipe(folder: Path) -> None:
    record, recipe = load_record(folder / "baseline.json"), load_recipe(folder / "recipe.yaml")
    assert record.digest and record.title and not record.examples
    assert [it.name for it in record.measurements] == [it.name for it in recipe.candidates]
    assert record.protocol.data == recipe.data and record.measurements[0].accuracy
    assert not any(Path(it.path).is_absolute() for it in record.measurements)


def test_both_services_run_the_script_that_is_tested_here(folder: Path) -> None:
    flow = read(folder / ".github" / "workflows" / "segship-gate.yml")
    trigger = flow[True]  # YAML 1.1 reads the key `on` as true
    assert set(trigger["workflow_call"]["inputs"]) == {"folder", "segship", "python"}
    steps = flow["jobs"]["gate"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert any('"$FOLDER/gate.sh"' in command for command in commands)
    assert not any("${{" in command for command in commands)  # no injection through a branch's name
    caller = read(folder / ".github" / "workflows" / "pull-request.yml")
    assert caller["jobs"]["gate"]["uses"].endswith("/.github/workflows/segship-gate.yml")
    gitlab = read(folder / ".gitlab-ci.yml")["segship-gate"]
    assert gitlab["script"][-1] == 'BASE="/tmp/before/$FOLDER" "$FOLDER/gate.sh"'
    assert gitlab["artifacts"]["reports"]["junit"] == "$FOLDER/runs/*.xml"


def test_it_passes_fails_when_planted_and_passes_once_reviewed(folder: Path) -> None:
    done = subprocess.run(
        ["sh", str(folder / "check.sh"), sys.executable],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok: ") == 6
