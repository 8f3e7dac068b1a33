"""Two records: what is called a change, what noise, and what is not ranked at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from segship.benchmark.compare import compare
from segship.benchmark.image_counts import pack_counts
from segship.benchmark.record import Accuracy, Drop, Measurement, Record, Samples, save_record
from segship.benchmark.samples import summarise
from segship.cli import segship
from segship.common.errors import InputError
from segship.tests.reports.conftest import build_record


def times(median_ms: float, seed: int, spread: float = 0.02) -> Samples:
    noise = np.random.default_rng(seed).lognormal(0, spread, 60)
    return summarise(list(median_ms * noise))


def changed(record: Record, index: int, **values: Any) -> Record:
    items = list(record.measurements)
    items[index] = replace(items[index], **values)
    return replace(record, measurements=tuple(items))


def two_runs(factors: Sequence[float], **values: Any) -> tuple[Record, Record]:
    """One record of two artifacts, and one whose times are so much longer."""
    old = build_record(count=2)
    for index, median_ms in enumerate((10.0, 20.0)):
        old = changed(old, index, latency=times(median_ms, index))
    new = old
    for index, (median_ms, factor) in enumerate(zip((10.0, 20.0), factors, strict=True)):
        new = changed(new, index, latency=times(median_ms * factor, 7 + index))
    return old, changed(new, 1, **values)


def verdicts(old: Record, new: Record) -> list[str]:
    return [item.latency.verdict if item.latency else "" for item in compare(old, new).pairs]


def test_a_changed_artifact_is_judged_by_one_that_stayed() -> None:
    assert verdicts(*two_runs((1.0, 1.1), sha256="e" * 64)) == ["noise", "slower"]
    assert verdicts(*two_runs((1.0, 0.9), sha256="e" * 64)) == ["noise", "faster"]
    assert verdicts(*two_runs((1.0, 1.0), sha256="e" * 64)) == ["noise", "noise"]


def test_a_whole_run_that_is_slower_blames_no_artifact() -> None:
    old, new = two_runs((1.1, 1.1), sha256="e" * 64)
    assert verdicts(old, new) == ["machine", "noise"]
    reason = compare(old, new).pairs[1].latency
    assert reason is not None
    assert "unchanged artifacts moved" in reason.reason


def test_beyond_what_the_run_moved_counts_again() -> None:
    assert verdicts(*two_runs((1.1, 1.4), sha256="e" * 64)) == ["machine", "slower"]


def test_new_libraries_leave_nothing_unchanged() -> None:
    old, new = two_runs((1.1, 1.1))
    libraries = {**new.environment.libraries, "openvino": "2027.0"}
    new = replace(new, environment=replace(new.environment, libraries=libraries))
    found = compare(old, new)
    assert [item.latency.verdict for item in found.pairs if item.latency] == ["slower?", "slower?"]
    assert "no unchanged artifact" in (found.pairs[0].latency or pytest.fail()).reason
    assert ("openvino", "2026.4.1", "2027.0") in [
        (item.what, item.old, item.new) for item in found.changes
    ]


@pytest.mark.parametrize(
    ("part", "values", "times_ranked", "accuracy_ranked"),
    [
        ("environment", {"host_id": "other"}, False, True),
        ("protocol", {"latency_rule": "once"}, False, True),
        ("protocol", {"data_sha256": "0" * 64}, True, False),
        ("protocol", {"evaluation": "windows"}, True, False),
        ("protocol", {"images": 7}, True, False),
        ("environment", {"load_average": 9.0}, True, True),
    ],
)
def test_what_is_not_ranked(
    part: str, values: dict[str, Any], times_ranked: bool, accuracy_ranked: bool
) -> None:
    old, new = two_runs((1.0, 1.5), sha256="e" * 64)
    new = replace(new, **{part: replace(getattr(new, part), **values)})
    pair = compare(old, new).pairs[1]
    assert pair.latency and pair.miou
    assert (pair.latency.verdict != "not ranked") == times_ranked
    assert (pair.latency.test is not None) == times_ranked
    assert (pair.miou.verdict != "not ranked") == accuracy_ranked


def test_another_input_size_is_not_ranked() -> None:
    assert verdicts(*two_runs((1.0, 1.5), input_shape=(1, 3, 64, 64)))[1] == "not ranked"


def scored(record: Record, index: int, matrix: list[list[int]], drop: Drop | None) -> Record:
    table = np.array(matrix)
    hit = np.diagonal(table)
    iou = hit / (table.sum(0) + table.sum(1) - hit)
    accuracy = Accuracy(4, float(iou.mean()), tuple(iou), 0.5, tuple(map(tuple, matrix)), drop)
    return changed(record, index, accuracy=accuracy)


BASE, WORSE = [[8, 2], [2, 8]], [[7, 3], [3, 7]]


def miou_verdict(old: Record, new: Record) -> str:
    found = compare(old, new).pairs[1].miou
    assert found is not None
    return found.verdict


def test_miou_against_one_baseline_uses_both_intervals() -> None:
    old = scored(
        scored(build_record(count=2), 0, BASE, None), 1, BASE, Drop(0, -0.01, 0.01, 0.95, 9)
    )
    new = scored(old, 1, WORSE, Drop(0.12, 0.1, 0.14, 0.95, 9))
    found = compare(old, new).pairs[1].miou
    assert found is not None
    assert found.verdict == "lost"
    assert (found.low, found.high) == pytest.approx((0.09, 0.15))
    assert found.drop == pytest.approx(8 / 12 - 7 / 13)
    assert miou_verdict(new, old) == "gained"
    near = scored(old, 1, WORSE, Drop(0.12, 0.005, 0.2, 0.95, 9))
    assert miou_verdict(old, near) == "noise"
    assert miou_verdict(old, old) == "same"
    other = scored(new, 0, WORSE, None)
    assert miou_verdict(old, other) == "unknown"


def test_counts_per_image_give_a_paired_interval() -> None:
    old = scored(build_record(count=2), 1, BASE, None)
    new = scored(old, 1, WORSE, None)
    old = with_counts(old, [[8.0, 10, 10], [8, 10, 10]])
    new = with_counts(new, [[7.0, 10, 10], [7, 10, 10]])
    found = compare(old, new).pairs[1].miou
    assert found is not None
    # every image loses the same, so that every resample does: 8/12 − 7/13
    assert found.low == pytest.approx(8 / 12 - 7 / 13)
    assert found.high == pytest.approx(found.low)
    assert found.verdict == "lost"
    other_truth = with_counts(new, [[7.0, 11, 10], [7, 9, 10]])
    assert miou_verdict(old, other_truth) == "unknown"


def with_counts(record: Record, counts: list[list[float]]) -> Record:
    accuracy = record.measurements[1].accuracy
    assert accuracy is not None
    packed = pack_counts([np.array(counts)] * 4)
    return changed(record, 1, accuracy=replace(accuracy, counts=packed))


def test_pairs_by_name_then_content_then_being_alone() -> None:
    record = build_record(count=3)
    renamed = changed(record, 2, name="renamed", path="elsewhere.onnx")
    found = compare(record, renamed)
    assert [(item.old.name, item.new.name) for item in found.pairs][2][1] == "renamed"
    assert [item.what for item in found.pairs[2].changes] == ["path"]
    fewer = replace(record, measurements=record.measurements[:2])
    assert compare(record, fewer).only_old == (record.measurements[2].name,)
    assert compare(fewer, record).only_new == (record.measurements[2].name,)
    one = alone(record.measurements[0])
    other = alone(replace(record.measurements[0], name="x", sha256="e" * 64))
    assert len(compare(one, other).pairs) == 1
    with pytest.raises(InputError, match="an artifact in both records"):
        compare(record, other)


def alone(item: Measurement) -> Record:
    return replace(build_record(count=1), baseline=item.name, measurements=(item,))


def test_settings_inside_contract_and_lineage_are_named() -> None:
    old, new = two_runs((1.0, 1.0), contract={"input": "uint8", "output": "logits"})
    found = {item.what: (item.old, item.new) for item in compare(old, new).pairs[1].changes}
    assert found == {"contract input": ("float32", "uint8"), "contract resize": ("stretch", "–")}


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    old, new = two_runs((1.0, 1.3), sha256="e" * 64)
    paths = [str(tmp_path / name) for name in ("old.json", "new.json", "c.json", "c.md")]
    save_record(old, Path(paths[0]))
    save_record(new, Path(paths[1]))
    command = ["compare", *paths[:2], "--json", paths[2], "--markdown", paths[3]]
    result = CliRunner().invoke(segship, command)
    assert result.exit_code == 0, result.output
    assert "slower" in result.output
    pairs = json.loads(Path(paths[2]).read_text())[0]["pairs"]
    assert [item["latency"]["verdict"] for item in pairs] == ["noise", "slower"]
    row = next(line for line in Path(paths[3]).read_text().splitlines() if "| slower |" in line)
    assert row.startswith("| plain-openvino | slower | rank test")
    assert "eeeeeeeeeeeeeeee" in Path(paths[3]).read_text()
    assert CliRunner().invoke(segship, ["compare", paths[0]]).exit_code == 2
