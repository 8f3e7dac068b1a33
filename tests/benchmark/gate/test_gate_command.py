"""`segship gate` on files: exit codes, files, updates, and records that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

from segship.benchmark.gate.pairing import find_pair
from segship.benchmark.gate.remeasure import remeasure
from segship.benchmark.record import Example, Record, load_record, save_record
from segship.benchmarks.gate_material import made_record
from segship.cli import segship
from segship.common.errors import InputError

POLICY = "budgets: {miou: {max_drop: 0.5, unit: points, reason: agreed}}\n"


def saved(path: Path, *, lost: int = 0, both: bool = True) -> Path:
    counts = np.full((2, 30, 3, 3), 1000.0)
    counts[1, :, :, 0] -= lost
    record = made_record(np.full((2, 100), 10.0), np.full((2, 3), 100.0), counts)
    if not both:
        record = replace(record, measurements=record.measurements[1:], baseline="candidate")
    save_record(record, path)
    return path


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(segship, ["gate", *(str(item) for item in arguments)])


def refused(code: int, *arguments: object) -> str:
    """Run what must end with `code` and one line on stderr; return the line."""
    result = invoke(*arguments)
    assert result.exit_code == code, result.output
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("Error: ")
    return result.stderr


def test_passed_and_failed_with_all_outputs(tmp_path: Path) -> None:
    policy = tmp_path / "gate.yaml"
    policy.write_text(POLICY)
    files = {name: tmp_path / name for name in ("junit", "json", "markdown")}
    options = [part for name, path in files.items() for part in (f"--{name}", path)]
    good, bad = saved(tmp_path / "good.json"), saved(tmp_path / "bad.json", lost=20)
    passed = invoke(good, "--policy", policy, *options, "--github")
    assert passed.exit_code == 0 and "::" not in passed.stdout
    assert json.loads(files["json"].read_text())["passed"] is True
    failed = invoke(bad, "--policy", policy, *options, "--github")
    assert failed.exit_code == 1
    assert "::error title=segship gate%3A mIoU::mIoU: fail" in failed.stdout
    assert ElementTree.parse(files["junit"]).getroot().get("failures") == "1"
    assert "❌" in files["markdown"].read_text()


def test_update_makes_the_baseline_and_the_next_gate_passes(tmp_path: Path) -> None:
    policy, baseline = tmp_path / "gate.yaml", tmp_path / "baseline.json"
    policy.write_text(POLICY)
    first, second = (saved(tmp_path / f"{lost}.json", lost=lost, both=False) for lost in (0, 20))
    base = ("--baseline", baseline, "--policy", policy)
    made = invoke(first, *base, "--update", "--reason", "first one")
    assert made.exit_code == 0 and "(new); review and commit it" in made.stderr
    assert load_record(baseline).title == "first one"
    assert invoke(first, *base).exit_code == 0
    assert invoke(second, *base).exit_code == 1
    before = baseline.read_bytes()
    updated = invoke(second, *base, "--update")
    assert updated.exit_code == 0 and "(was: fail, see above)" in updated.stderr
    assert "mIoU: fail; 100.00 → 96.08" in updated.stdout
    assert baseline.read_bytes() != before
    assert invoke(second, *base).exit_code == 0


def test_the_baseline_file_holds_no_images(tmp_path: Path) -> None:
    path, baseline = saved(tmp_path / "r.json"), tmp_path / "b.json"
    example = Example("x", "data:", "data:", {}, {}, {})
    save_record(replace(load_record(path), examples=(example,)), path)
    assert invoke(path, "--baseline", baseline, "--update").exit_code == 0
    assert load_record(baseline).examples == () and load_record(path).examples


def test_wrong_options_are_refused_before_anything(tmp_path: Path) -> None:
    path = saved(tmp_path / "r.json")
    assert "--update takes one RECORD" in refused(2, path, "--update")
    assert "--update takes one RECORD" in refused(
        2, path, path, "--update", "--baseline", tmp_path / "b.json"
    )
    assert "leave out --reason" in refused(2, path, "--reason", "x")
    assert "create it or choose" in refused(2, path, "--junit", tmp_path / "no" / "f.xml")
    assert "does not exist" in refused(2, path, "--baseline", tmp_path / "none.json")
    assert "but got 'x'" in refused(2, path, "--name", "x")


DAMAGE: list[tuple[int, str, Callable[[str], str]]] = [
    (2, "segship record in JSON", lambda text: text[: len(text) // 2]),
    (2, "segship record in JSON", lambda _: ""),
    (2, "segship record in JSON", lambda text: text.replace("{", "\x00", 1)),
    (1, "Cannot compare: Expected record schema 1",
     lambda text: text.replace('"schema_version": 1', '"schema_version": 2')),
    (2, "was changed since", lambda text: text.replace('"miou": 1.0', '"miou": 0.99', 1)),
    (2, "was changed since", lambda text: text.replace("10.0", "9.0", 1)),
    (2, "whole segship record", lambda text: without(text, "environment")),
    (2, "are damaged", lambda text: with_counts(text, "AAAA")),
]  # fmt: skip  # one damage per row


def without(text: str, name: str) -> str:
    values = json.loads(text)
    values.pop(name)
    values.pop("digest")
    return json.dumps(values)


def with_counts(text: str, packed: str) -> str:
    values: dict[str, Any] = json.loads(text)
    values.pop("digest")
    for item in values["measurements"]:
        item["accuracy"]["counts"]["counts"] = packed
    return json.dumps(values)


@pytest.mark.parametrize(("code", "says", "damage"), DAMAGE)
def test_what_is_no_record_as_measured_gets_one_line(
    code: int, says: str, damage: Callable[[str], str], tmp_path: Path
) -> None:
    good, bad = saved(tmp_path / "good.json"), saved(tmp_path / "bad.json")
    text = bad.read_text()
    bad.write_text(damage(text))
    assert bad.read_text() != text
    for arguments in ((bad,), (good, "--baseline", bad)):
        assert says in refused(code, *arguments)


def test_measured_again_is_what_was_measured_in_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segship.benchmark.gate import remeasure as module

    record = load_record(saved(tmp_path / "r.json"))
    files = {name: tmp_path / f"{name}.onnx" for name in ("baseline", "candidate")}
    items = tuple(replace(it, path=str(files[it.name])) for it in record.measurements)
    for name, file in files.items():
        file.write_text(name)
    monkeypatch.setattr(module, "load_artifact", lambda path: SimpleNamespace(sha256=path.stem))
    asked: list[Any] = []

    def measured(both: list[Any], **_: object) -> Record:
        asked.extend(both)
        return record

    monkeypatch.setattr(module, "benchmark", measured)
    pair = find_pair([replace(record, measurements=items)], [])
    assert module.remeasure(pair, progress=False).retimed is record
    assert [(it.name, it.source, it.runtime, it.precision) for it in asked] == [
        (name, str(file), "onnxruntime", "fp32") for name, file in files.items()
    ]
    assert [(it.threads, it.batch, it.size_px) for it in asked] == [(1, 1, (64, 96))] * 2
    moved = replace(items[1], sha256="other")
    with pytest.raises(InputError, match="another file lies there"):
        remeasure(find_pair([replace(record, measurements=(items[0], moved))], []))


def test_a_file_that_is_gone_is_not_measured_again(tmp_path: Path) -> None:
    record: Record = load_record(saved(tmp_path / "r.json"))
    with pytest.raises(InputError, match="is not there: put it there"):
        remeasure(find_pair([record], []))


@pytest.mark.parametrize("option", ["--json", "--junit", "--markdown"])
def test_nothing_that_is_read_is_written(option: str, tmp_path: Path) -> None:
    path, baseline, policy = (tmp_path / name for name in ("r.json", "b.json", "gate.yaml"))
    saved(path)
    baseline.write_bytes(saved(tmp_path / "x.json").read_bytes())
    policy.write_text(POLICY)
    before = {file: file.read_bytes() for file in (path, baseline, policy)}
    common = (path, "--baseline", baseline, "--policy", policy)
    for file in before:
        assert "for both" in refused(2, *common, option, file)
        assert "for both" in refused(2, *common, option, tmp_path / "." / ".." / file)
    assert "for both" in refused(2, path, "--baseline", path, "--update")
    twice = (option, baseline, "--update")
    assert "twice" in refused(2, path, "--baseline", baseline, *twice)
    assert {file: file.read_bytes() for file in before} == before
