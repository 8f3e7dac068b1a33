"""A gate that is asked wrongly, or given numbers it cannot use, says so and never passes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from segship.benchmark.gate.compare import gate
from segship.benchmark.gate.outcome import Status
from segship.benchmark.gate.pairing import find_pair
from segship.benchmark.gate.policy import Budget, Policy
from segship.benchmark.integrity import digest_of
from segship.benchmark.record import Measurement, Record, load_record, save_record
from segship.benchmarks.gate_material import made_record
from segship.cli import segship
from segship.common.errors import InputError

LATENCY = Policy((Budget("latency_median", 5.0, "percent"),))
SIZE = Policy((Budget("file_size", 5.0, "percent"),))


def run(seed: int, **changes: object) -> Record:
    """A record of its own run with the candidate alone."""
    times = 10 * np.random.default_rng(seed).lognormal(0, 0.02, (2, 100))
    record = made_record(times, np.full((2, 3), 100.0), np.full((2, 30, 3, 3), 1000.0))
    items = (replace(record.measurements[1], **changes),)  # type: ignore[arg-type]
    return replace(record, measurements=items, baseline="candidate")


def sized(record: Record, file_mib: float) -> Record:
    item: Measurement = record.measurements[0]
    assert item.memory
    changed = replace(item, memory=replace(item.memory, file_mib=file_mib))
    return replace(record, measurements=(changed,))


def test_a_run_given_twice_is_no_second_run() -> None:
    one, two, three = (run(seed) for seed in range(3))
    for sides in (([one, one], [two, three]), ([one, two], [three, three])):
        with pytest.raises(InputError, match="given twice"):
            gate(*sides, policy=LATENCY)
    assert gate([one, two], [three, run(3)], LATENCY).passed
    assert gate([one], [one], LATENCY).passed  # against itself: a run each


def test_runs_of_several_artifacts_are_not_mixed() -> None:
    runs = [run(seed) for seed in range(3)]
    for odd in (run(3, sha256="f" * 64), run(3, threads=7), run(3, input_shape=(1, 3, 32, 32))):
        for sides in (([runs[0], odd], runs[1:]), (runs[1:], [runs[0], odd])):
            with pytest.raises(InputError, match="runs of one artifact"):
                gate(*sides, policy=LATENCY)


def test_a_baseline_name_nobody_has_is_refused_even_of_one_measurement() -> None:
    with pytest.raises(InputError, match="but got 'typo'"):
        find_pair([run(0)], [run(1)], baseline_name="typo")
    renamed = run(1, name="before")
    assert find_pair([run(0)], [renamed]).base[0].name == "before"


def test_times_at_another_size_are_not_compared() -> None:
    small = [run(seed, input_shape=(1, 3, 32, 48)) for seed in (0, 1)]
    found = gate(small, [run(2), run(3)], LATENCY).checks[0]
    assert found.status is Status.CANNOT
    assert found.note == "other input sizes: 32x48, 64x96"


@pytest.mark.parametrize(
    ("before", "after"),
    [(1.0, float("nan")), (float("nan"), 1.0), (1e-300, 1e300), (5e-324, 1.0), (1.0, 1e308)],
)
def test_what_is_no_number_cannot_pass(before: float, after: float) -> None:
    result = gate([sized(run(0), after)], [sized(run(1), before)], SIZE)
    assert result.checks[0].status is Status.CANNOT and not result.passed
    assert "no finite number" in result.checks[0].note
    json.dumps(result.to_json(), allow_nan=False)


def test_an_update_replaces_a_baseline_of_another_schema(tmp_path: Path) -> None:
    path, baseline = tmp_path / "r.json", tmp_path / "b.json"
    save_record(run(0), path)
    values = {**json.loads(path.read_text()), "schema_version": 0}
    baseline.write_text(json.dumps({**values, "digest": digest_of(values)}))
    command = ["gate", str(path), "--baseline", str(baseline)]
    refused = CliRunner().invoke(segship, command)
    assert refused.exit_code == 1 and "has 0" in refused.stderr
    updated = CliRunner().invoke(segship, [*command, "--update"])
    assert updated.exit_code == 0 and "(new)" in updated.stderr
    assert load_record(baseline) == load_record(path)
    baseline.write_text("{")
    assert CliRunner().invoke(segship, [*command, "--update"]).exit_code == 2
    assert baseline.read_text() == "{"


def test_classes_nothing_can_be_told_of_are_counted() -> None:
    counts = np.full((2, 60, 2, 3), 1000.0)
    counts[1, :, 0, 0] -= 10  # surely a point
    counts[:, 6:, 1] = 0  # in six images, up in three and down in three
    counts[:, :6, 1, 0] = 500
    counts[1, :6, 1, 0] += np.array([-400, 400] * 3)
    record = made_record(np.full((2, 100), 10.0), np.full((2, 3), 100.0), counts)
    policy = Policy((Budget("worst_class", 3.0, "points"),))
    found = gate([record], policy=policy).checks[0]
    assert found.how.endswith("of 1 the interval is wider than the budget, nothing can be told")
    counts[1] = counts[0]
    equal = made_record(np.full((2, 100), 10.0), np.full((2, 3), 100.0), counts)
    assert gate([equal], policy=policy).checks[0].how.endswith("all 2 classes at once")
