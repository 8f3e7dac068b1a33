"""gate.yaml: what is read, and what is refused in one line that says what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from segship.benchmark.gate.policy import QUANTITIES, Budget, Policy, load_policy
from segship.common.errors import InputError


def write(folder: Path, text: str) -> Path:
    file = folder / "gate.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_everything_stated_is_read(tmp_path: Path) -> None:
    text = """
hosts: any
confidence: 0.9
replicates: 400
budgets:
  miou: {max_drop: 0.5, unit: points, reason: agreed}
  latency_median: {max_increase: 2, unit: ms}
  pixel_agreement: {min: 99, unit: percent}
"""
    budgets = (
        Budget("miou", 0.5, "points", "agreed"),
        Budget("latency_median", 2.0, "ms"),
        Budget("pixel_agreement", 99.0, "percent"),
    )
    assert load_policy(write(tmp_path, text)) == Policy(budgets, "any", 0.9, 400, "gate.yaml")


def test_the_example_at_the_top_of_the_module_is_valid(tmp_path: Path) -> None:
    from segship.benchmark.gate import policy

    example = (policy.__doc__ or "").partition("\n\n")[2]
    found = load_policy(write(tmp_path, example))
    assert {item.quantity for item in found.budgets} == set(QUANTITIES)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("budgets: {}", "expected a budget"),
        ("hosts: same", "key 'budgets'"),
        ("budgets: {miuo: {max_drop: 1, unit: points}}", "did you mean 'miou'"),
        ("budgets: {xyz: 1}", "known are miou, worst_class, pixel_agreement, latency_median"),
        ("budgets: {miou: {max_drop: 1}}", "key 'unit'"),
        ("budgets: {miou: {max_drop: 1, unit: percent}}", "expected points, but got 'percent'"),
        ("budgets: {miou: {max_increase: 1, unit: points}}", "unknown key 'max_increase'"),
        ("budgets: {memory: {max_increase: 5, unit: ms}}", "percent or MiB, but got 'ms'"),
        ("budgets: {miou: {max_drop: -1, unit: points}}", "a number from 0 on, but got -1"),
        ("budgets: {miou: {max_drop: .nan, unit: points}}", "a number from 0 on"),
        ("budgets: {miou: {max_drop: true, unit: points}}", "a number from 0 on"),
        ("budgets: {pixel_agreement: {min: 101, unit: percent}}", "at most 100 percent"),
        ("budgets: {miou: {max_drop: 1, unit: points, reason: ''}}", "expected text"),
        ("hosts: all\nbudgets: {miou: {max_drop: 1, unit: points}}", "same or any"),
        ("confidence: 95\nbudgets: {miou: {max_drop: 1, unit: points}}", "0.5 to 0.999"),
        ("replicates: 9\nbudgets: {miou: {max_drop: 1, unit: points}}", "200 to 100000"),
        ("budgets: [", "in YAML"),
        ("- 1", "keys and values"),
    ],
)
def test_what_no_gate_could_follow_is_refused(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as caught:
        load_policy(write(tmp_path, text))
    assert "gate.yaml" in str(caught.value)


def test_a_missing_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_policy(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("says", "text"),
    [
        ("'miou' stands twice", "budgets:\n  miou: {max_drop: 1, unit: points}\n  miou: {}\n"),
        ("'max_drop' stands twice", "budgets: {miou: {max_drop: 1, max_drop: 50, unit: points}}"),
        ("month must be", "budgets: {miou: {max_drop: 2024-13-45, unit: points}}"),
        ("invalid literal", 'budgets: {miou: {max_drop: !!int "abc", unit: points}}'),
        ("nested too deep", "[" * 20_000),
        ("from 0 on, but got", f"budgets: {{file_size: {{max_increase: {'9' * 400}, unit: MiB}}}}"),
        ("from 0 on, but got", "budgets: {file_size: {max_increase: 1.0e+300, unit: MiB}}"),
    ],
)
def test_a_policy_yaml_alone_would_take_or_break_on(says: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        load_policy(path)
    assert len(str(caught.value)) < 400


def test_a_policy_may_repeat_itself_by_an_alias(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(
        "budgets:\n  miou: &a {max_drop: 1, unit: points, reason: x}\n  worst_class: *a\n"
    )
    assert [item.limit for item in load_policy(path).budgets] == [1.0, 1.0]
