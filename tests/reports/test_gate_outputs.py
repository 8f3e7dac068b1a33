"""The forms of a gate: every one says the same, and nothing in a name breaks out of it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from segship.benchmark.gate.outcome import Check, GateResult, Status, cannot
from segship.benchmark.gate.policy import Budget
from segship.reports.gate_github import github_lines
from segship.reports.gate_junit import gate_junit
from segship.reports.gate_markdown import gate_markdown
from segship.reports.gate_table import print_gate
from segship.reports.gate_words import budget, change, sentence, value, verdict
from segship.reports.gate_write import write_gate

NASTY = 'a|b <i>"x"</i> & 100 %\n::error::no \x01`'


def result(name: str = "int8", note: str = "") -> GateResult:
    miou = Budget("miou", 0.5, "points", "agreed with the team")
    median = Budget("latency_median", 5.0, "percent")
    return GateResult(
        baseline="fp32",
        candidate=name,
        policy="gate.yaml",
        checks=(
            Check(miou, Status.FAIL, "bootstrap", "points", 57.0, 55.9, 1.1, 0.8, 1.4, note),
            Check(median, Status.WARN, "rounds", "ms", 20.0, 21.2, 6.0, 4.0, 8.0),
            Check(Budget("file_size", 5.0, "percent"), Status.PASS, "one number each", "MiB",
                  14.0, 14.0, 0.0, 0.0, 0.0),
            cannot(Budget("energy", 5.0, "percent"), "records hold no energy"),
        ),
        notes=("Busy machine.",),
    )  # fmt: skip  # one check per row


def test_junit_is_what_its_readers_expect() -> None:
    root = ElementTree.fromstring(gate_junit(result()))
    assert root.tag == "testsuites"
    (suite,) = root
    assert (suite.tag, suite.get("name")) == ("testsuite", "segship.gate")
    for place in (root, suite):
        wanted = {"tests": "4", "failures": "1", "errors": "1", "skipped": "0"}
        assert {name: place.get(name) for name in wanted} == wanted
        assert float(place.get("time") or "x") == 0
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [
        "mIoU", "latency median", "file size", "energy",
    ]  # fmt: skip  # one row
    assert all(case.get("classname") == "segship.gate.int8" and case.get("time") for case in cases)
    assert [[it.tag for it in case] for case in cases] == [
        ["failure", "system-out"],
        ["system-out"],
        ["system-out"],
        ["error", "system-out"],
    ]
    failure = cases[0].find("failure")
    assert failure is not None and failure.get("type") == "fail"
    assert "+1.10 [+0.80, +1.40] pt" in (failure.get("message") or "")
    assert "agreed with the team" in (failure.get("message") or "")
    assert [it.text for it in suite.findall("system-out")] == ["Busy machine."]


def test_a_warning_is_neither_a_failure_nor_an_error_in_junit() -> None:
    found = result()
    only = GateResult("a", "b", "p", tuple(it for it in found.checks if it.status is Status.WARN))
    root = ElementTree.fromstring(gate_junit(only))
    assert [root.get(name) for name in ("tests", "failures", "errors")] == ["1", "0", "0"]


def test_junit_survives_any_name() -> None:
    root = ElementTree.fromstring(gate_junit(result(NASTY, NASTY)))
    case = root.find("testsuite/testcase")
    assert case is not None and "<i>" in (case.get("classname") or "")
    assert "\x01" not in (case.get("classname") or "")


def test_annotations_are_one_line_each() -> None:
    lines = list(github_lines(result(note=NASTY)))
    assert [line.partition(" ")[0] for line in lines] == ["::error", "::warning", "::error"]
    assert lines[0].startswith("::error title=segship gate%3A mIoU::mIoU: fail; 57.00 → 55.90")
    assert "100 %25%0A::error" in lines[0]
    assert not any("\n" in line for line in lines)


def test_markdown_has_a_row_per_budget_and_no_html_of_others() -> None:
    text = gate_markdown(result(NASTY, NASTY))
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 4
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}
    assert "<i>" not in text and "&lt;i>" in text
    assert "❌ fail" in rows[0] and "❔ cannot compare" in rows[3]


def test_the_table_shows_every_number_at_eighty_columns() -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # tests
    print_gate(result(), console)
    text = console.export_text()
    for part in ("FAIL", "57.00", "55.90", "+1.10 [+0.80, +1.40] pt", "CANNOT", "note: Busy"):
        assert part in text, part
    assert verdict(result()) == "int8: not comparable with fp32 (policy: gate.yaml)"


def test_words() -> None:
    checks = {check.quantity: check for check in result().checks}
    assert [budget(check) for check in checks.values()] == ["−0.5 pt", "+5 %", "+5 %", "+5 %"]
    assert change(checks["file_size"]) == "0.00 %" and change(checks["energy"]) == "–"
    assert sentence(checks["energy"]) == "energy: cannot compare; records hold no energy."
    share = Check(
        Budget("pixel_agreement", 99.0, "percent"),
        Status.PASS,
        "",
        "%",
        100,
        99.5,
        99.5,
        99.4,
        99.6,
    )
    assert (budget(share), change(share)) == ("≥ 99 %", "99.50 [99.40, 99.60] %")
    assert value(1234.5, "ms") == "1,234.50 ms"


def test_files_are_written_and_say_the_same(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("junit", "json_path", "markdown")}
    assert write_gate(result(), **paths) == list(paths.values())
    values = json.loads(paths["json_path"].read_text())
    assert (values["passed"], values["status"]) == (False, "cannot compare")
    first = values["checks"][0]
    assert {first["quantity"], first["status"], first["unit"]} == {"miou", "fail", "points"}
    assert (first["limit"], first["low"], first["reason"]) == (0.5, 0.8, "agreed with the team")
    assert write_gate(result()) == []


@pytest.mark.parametrize(
    ("statuses", "wanted", "passed"),
    [
        ((Status.PASS, Status.PASS), Status.PASS, True),
        ((Status.PASS, Status.WARN), Status.WARN, True),
        ((Status.FAIL, Status.WARN), Status.FAIL, False),
        ((Status.FAIL, Status.CANNOT), Status.CANNOT, False),
    ],
)
def test_a_gate_is_its_gravest_check(
    statuses: tuple[Status, ...], wanted: Status, passed: bool
) -> None:
    checks = tuple(Check(Budget("miou", 1, "points"), status, "") for status in statuses)
    found = GateResult("a", "b", "p", checks)
    assert (found.status, found.passed) == (wanted, passed)


def test_no_name_is_a_command_or_a_link() -> None:
    name = ":: \n::error::no [x](javascript:1) \\"
    console = Console(record=True, width=80, file=io.StringIO())
    print_gate(result(name, name), console)
    assert not [line for line in console.export_text().splitlines() if line.startswith("::")]
    text = gate_markdown(result(name, name))
    assert "\\[x\\](javascript:1) \\\\" in text and not re.search(r"(?<!\\)\]\(", text)
