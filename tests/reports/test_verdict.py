"""The headline names the right candidate and says what the record says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from segship.benchmark.record import Drop, Record
from segship.reports.verdict import judge


def with_drop(record: Record, index: int, drop: Drop | None) -> Record:
    items = list(record.measurements)
    accuracy = items[index].accuracy
    assert accuracy
    items[index] = replace(items[index], accuracy=replace(accuracy, drop=drop))
    return replace(record, measurements=tuple(items))


def named(record: Record) -> str:
    candidate = judge(record).candidate
    assert candidate
    return candidate.name


def test_names_the_fastest_that_keeps_its_accuracy(make_record: Callable[..., Record]) -> None:
    record = make_record()
    assert max(record.measurements, key=lambda m: m.speedup or 0).name == "pooled-openvino-bf16"
    assert named(record) == "rewritten-openvino-bf16"
    assert "4 candidates (of 5) that lose at most 1 point" in judge(record).rule


def test_without_a_careful_candidate_names_the_fastest_and_says_so(
    make_record: Callable[..., Record],
) -> None:
    record = make_record(count=3)
    for index in (1, 2):
        record = with_drop(record, index, Drop(0.05, 0.04, 0.06, 0.95, 1000))
    assert named(record) == "rewritten-onnxruntime"
    assert judge(record).rule.startswith("No candidate stays within 1 point of mIoU")


def test_the_rule_says_when_every_candidate_keeps_its_accuracy(
    make_record: Callable[..., Record],
) -> None:
    rule = judge(make_record(count=4)).rule
    assert rule == "Named above: the fastest of 3 candidates, all within 1 point of mIoU."


def test_the_baseline_need_not_come_first(make_record: Callable[..., Record]) -> None:
    record = make_record(count=3)
    turned = replace(record, measurements=record.measurements[::-1])
    assert judge(turned).text == judge(record).text


@pytest.mark.parametrize(
    ("drop", "words"),
    [
        (Drop(0.0, 0.0, 0.0, 0.95, 1000), "at the same mIoU"),
        (Drop(0.001, -0.002, 0.004, 0.95, 1000), "no significant loss of mIoU (+0.10 points, 95 %"),
        (Drop(0.005, 0.002, 0.008, 0.9, 1000), "loses 0.50 points of mIoU (drop 90 % interval"),
        (Drop(-0.005, -0.008, -0.002, 0.95, 1000), "gains 0.50 points of mIoU"),
        (None, "at "),
    ],
)
def test_the_accuracy_is_said_as_the_interval_allows(
    make_record: Callable[..., Record], drop: Drop | None, words: str
) -> None:
    assert words in judge(with_drop(make_record(count=2), 1, drop)).text


def test_a_slower_candidate_is_called_slower(make_record: Callable[..., Record]) -> None:
    record = make_record(count=2)
    slow = replace(record.measurements[1], speedup=0.5, frame_speedup=0.8)
    text = judge(replace(record, measurements=(record.measurements[0], slow))).text
    assert "2.00× slower per inference and 1.25× slower per frame" in text


def test_without_times_the_most_accurate_is_named(make_record: Callable[..., Record]) -> None:
    record = make_record()
    items = tuple(
        replace(m, latency=None, frame=None, speedup=None, frame_speedup=None)
        for m in record.measurements
    )
    verdict = judge(replace(record, measurements=items))
    assert verdict.candidate
    assert verdict.candidate.name == "plain-openvino"
    assert "the most accurate of" in verdict.rule
    assert verdict.text == (
        "plain-openvino reaches the same mIoU (52.93 %) against plain-onnxruntime."
    )


def test_one_measurement_is_described_without_comparison(
    make_record: Callable[..., Record],
) -> None:
    verdict = judge(make_record(count=1))
    assert verdict.candidate is None
    assert verdict.text.startswith("plain-onnxruntime takes 80.2 ms per inference and takes")
    assert verdict.text.endswith("no candidate was measured.")
    assert "×" not in "".join(figure.value for figure in verdict.figures)
