"""Every check on made records: what fails, what only warns, what cannot be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from segship.benchmark.gate.compare import check_pair, gate
from segship.benchmark.gate.latency import median_limits
from segship.benchmark.gate.outcome import Check, Status
from segship.benchmark.gate.pairing import find_pair
from segship.benchmark.gate.policy import DEFAULT, Budget, Policy
from segship.benchmark.gate.student import difference, quantile
from segship.benchmark.image_counts import pack_counts, unpack_counts
from segship.benchmark.record import Measurement, Record
from segship.benchmark.samples import summarise
from segship.benchmarks.gate_material import made_record
from segship.common.errors import InputError

IMAGES, CLASSES = 60, 4


def counts(lost: float = 0.0, *, of_class: int | None = None, images: int = IMAGES) -> Any:
    """Counts (2,I,K,3): the candidate misses `lost` of the hits, everywhere or in one class."""
    rng = np.random.default_rng(3)
    truth = rng.integers(500, 1500, (images, CLASSES)).astype(float)
    hits = np.floor(truth * rng.uniform(0.7, 0.95, (images, CLASSES)))
    base = np.stack([hits, truth, truth], axis=-1)
    other = base.copy()
    share = lost * rng.uniform(0.5, 1.5, (images, CLASSES))
    chosen = slice(None) if of_class is None else of_class
    other[:, chosen, 0] -= np.floor(hits * share)[:, chosen]
    return np.stack([base, other])


def record(
    *, table: Any = None, slower: float = 1.0, larger: float = 1.0, rounds: int = 20, seed: int = 0
) -> Record:
    """One run of two: 2 % noise in the times of a round, the machine slow in some rounds."""
    rng = np.random.default_rng(seed)
    machine = rng.choice([1.0, 1.4], rounds)[:, None]
    times = 10 * machine * rng.lognormal(0, 0.02, (2, rounds, 5))
    times[1] *= slower
    peaks = 100 * rng.lognormal(0, 0.001, (2, 3)) * np.array([[1.0], [larger]])
    return made_record(times.reshape(2, -1), peaks, counts() if table is None else table)


def checked(found: Record, policy: Policy = DEFAULT, **options: Any) -> dict[str, Check]:
    return {item.quantity: item for item in gate([found], policy=policy, **options).checks}


def budget(quantity: str, limit: float, unit: str = "percent", **options: Any) -> Policy:
    return Policy((Budget(quantity, limit, unit),), **options)


def other_candidate(found: Record, **changes: Any) -> Record:
    base, candidate = found.measurements
    return replace(found, measurements=(base, replace(candidate, **changes)))


def alone(found: Record) -> Record:
    """The record with its candidate only."""
    return replace(found, measurements=found.measurements[1:], baseline="candidate")


def test_equal_models_pass_everywhere() -> None:
    result = gate([record()])
    assert [item.status for item in result.checks] == [Status.PASS] * 5 and result.passed
    assert (result.baseline, result.candidate) == ("baseline", "candidate")


@pytest.mark.parametrize(
    ("quantity", "options"),
    [
        ("miou", {"table": counts(0.02)}),
        ("worst_class", {"table": counts(0.10, of_class=2)}),
        ("latency_median", {"slower": 1.10}),
        ("memory", {"larger": 1.10}),
    ],
)
def test_a_planted_loss_fails_its_own_check(quantity: str, options: dict[str, Any]) -> None:
    checks = checked(record(**options))
    assert checks[quantity].status is Status.FAIL
    found = checks[quantity]
    assert found.low is not None and found.change is not None and found.high is not None
    assert found.budget.limit < found.low < found.change < found.high
    passed = {name for name, item in checks.items() if item.status is Status.PASS}
    assert passed >= {"latency_median", "memory", "file_size"} - {quantity}


def test_the_worst_class_is_named() -> None:
    found = checked(replace(record(table=counts(0.10, of_class=2)), classes=tuple("abcd")))
    assert found["worst_class"].note.startswith("c of 4 classes")
    assert found["miou"].change == pytest.approx((found["worst_class"].change or 0) / 4)


def test_a_gain_never_fails() -> None:
    better = record(table=counts(0.1)[::-1], slower=0.8, larger=0.7)
    assert {item.status for item in gate([better]).checks} == {Status.PASS}


def test_beyond_the_budget_but_unsure_warns() -> None:
    few = counts(0.05, images=6)
    few[1, 1:, :, 0] = few[0, 1:, :, 0]  # one image of six loses
    found = checked(record(table=few), budget("miou", 0.3, "points"))["miou"]
    assert found.change is not None and found.change > 0.3 and found.status is Status.WARN


def test_noise_wider_than_the_budget_warns() -> None:
    rng = np.random.default_rng(0)
    loud = made_record(rng.lognormal(0, 0.5, (2, 100)), np.full((2, 3), 100.0), counts())
    found = checked(loud)["latency_median"]
    assert found.status is Status.WARN and "too noisy" in found.note


def test_a_machine_that_changes_its_speed_does_not_matter_within_a_run() -> None:
    found = checked(record(slower=1.0, seed=4))["latency_median"]
    assert found.low is not None and found.high is not None and found.high - found.low < 4


def test_latency_in_milliseconds() -> None:
    found = checked(record(slower=1.5), budget("latency_median", 2.0, "ms"))["latency_median"]
    assert found.status is Status.FAIL and found.baseline is not None
    assert found.change == pytest.approx(0.5 * found.baseline, rel=0.05)


def test_p99_wants_a_hundred_samples() -> None:
    policy = budget("latency_p99", 30)
    found = checked(record(rounds=19), policy)["latency_p99"]
    assert found.status is Status.CANNOT and "95" in found.note
    assert checked(record(), policy)["latency_p99"].status is Status.PASS
    assert checked(record(slower=2), policy)["latency_p99"].status is Status.FAIL


def test_too_few_rounds_cannot_be_compared() -> None:
    assert checked(record(rounds=7))["latency_median"].status is Status.CANNOT
    assert checked(record(rounds=8))["latency_median"].status is Status.PASS


def test_pixel_agreement_is_read_from_the_counts() -> None:
    found = record()
    accuracy = found.measurements[1].accuracy
    assert accuracy is not None and accuracy.counts is not None
    scored = unpack_counts(accuracy.counts)[..., 1].sum(axis=1)
    same = pack_counts(list(unpack_counts(accuracy.counts)), [int(it * 0.98) for it in scored])
    other = other_candidate(found, accuracy=replace(accuracy, counts=same))
    kept = checked(other, budget("pixel_agreement", 97.5))["pixel_agreement"]
    assert kept.status is Status.PASS and kept.change == pytest.approx(98, abs=0.05)
    assert checked(other, budget("pixel_agreement", 99))["pixel_agreement"].status is Status.FAIL
    assert checked(found, budget("pixel_agreement", 99))["pixel_agreement"].status is Status.CANNOT


def test_energy_is_not_in_a_record_and_so_fails() -> None:
    result = gate([record()], policy=budget("energy", 5))
    assert result.status is Status.CANNOT and not result.passed


def test_counts_that_do_not_add_up_are_not_compared() -> None:
    found = record()
    accuracy = found.measurements[1].accuracy
    assert accuracy is not None
    confusion = ((1, 0, 0, 0), *accuracy.confusion[1:])
    edited = other_candidate(found, accuracy=replace(accuracy, confusion=confusion))
    assert "do not add up" in checked(edited)["miou"].note


def no_counts(item: Measurement) -> dict[str, Any]:
    return {"accuracy": item.accuracy and replace(item.accuracy, counts=None)}


@pytest.mark.parametrize(
    ("quantity", "change", "says"),
    [
        ("miou", no_counts, "keeps no counts per image"),
        ("miou", lambda _: {"accuracy": None}, "has no accuracy"),
        ("latency_median", lambda _: {"latency": None}, "has no latency"),
        ("latency_median", lambda _: {"threads": 2}, "other numbers of threads: 1, 2"),
        ("latency_median", lambda _: {"batch": 2}, "other batches"),
        ("latency_median", lambda _: {"latency": summarise([1.0] * 50)}, "not measured in turns"),
        ("latency_median", lambda _: {"latency": summarise([0.0] * 100)}, "not above 0"),
        ("memory", lambda _: {"memory": None}, "two or more fresh processes"),
        ("file_size", lambda _: {"memory": None}, "no file size"),
    ],
)
def test_what_is_not_there_cannot_be_compared(
    quantity: str, change: Callable[[Measurement], dict[str, Any]], says: str
) -> None:
    found = record()
    check = checked(other_candidate(found, **change(found.measurements[1])))[quantity]
    assert check.status is Status.CANNOT and says in check.note
    assert not gate([other_candidate(found, **change(found.measurements[1]))]).passed


def test_a_record_alone_has_nothing_to_be_held_against() -> None:
    with pytest.raises(InputError, match="give --baseline"):
        gate([alone(record())])


def protocol(found: Record, **changes: Any) -> Record:
    return replace(found, protocol=replace(found.protocol, **changes))


def host(found: Record, name: str) -> Record:
    return replace(found, environment=replace(found.environment, host_id=name))


def test_one_run_of_each_says_nothing_about_times() -> None:
    first, second = alone(record(seed=1)), alone(record(seed=2))
    checks = {it.quantity: it for it in gate([second], [first]).checks}
    assert checks["latency_median"].status is Status.CANNOT
    assert "one run says nothing of another" in checks["latency_median"].note
    assert {checks[name].status for name in ("miou", "memory", "file_size")} == {Status.PASS}


def runs(count: int, slower: float, seed: int) -> list[Record]:
    return [alone(record(slower=slower, seed=seed + number)) for number in range(count)]


def steady(found: Record, factor: float) -> Record:
    (item,) = found.measurements
    return replace(found, measurements=(replace(item, latency=summarise([10 * factor] * 40)),))


def test_repeated_runs_decide_by_the_spread_between_them() -> None:
    base = [steady(it, f) for it, f in zip(runs(4, 1, 0), (0.99, 1.0, 1.0, 1.01), strict=True)]
    slow = [steady(it, f * 1.1) for it, f in zip(runs(2, 1, 9), (0.995, 1.005), strict=True)]
    policy = budget("latency_median", 5)
    assert gate(slow, base, policy).status is Status.FAIL
    assert gate(base[:2], base[2:], policy).status is Status.PASS
    loud = [steady(it, f) for it, f in zip(runs(4, 1, 0), (0.8, 1.0, 1.0, 1.2), strict=True)]
    assert gate(slow, loud, policy).status is Status.WARN


@pytest.mark.parametrize(
    ("changed", "failing", "says"),
    [
        (lambda it: host(it, "other"), {"miou", "worst_class", "memory", "file_size"}, "machines"),
        (lambda it: protocol(it, data_sha256="x"), {"miou", "worst_class"}, "other data"),
        (lambda it: protocol(it, images=3), {"miou", "worst_class"}, "other data"),
        (lambda it: protocol(it, evaluation="flip"), {"miou", "worst_class"}, "another protocol"),
    ],
)
def test_other_hosts_data_and_protocols_are_not_compared(
    changed: Callable[[Record], Record], failing: set[str], says: str
) -> None:
    base = alone(record())
    result = gate([changed(base)], [base])
    found = {it.quantity: it for it in result.checks if it.status is Status.CANNOT}
    assert set(found) - {"latency_median"} == failing and not result.passed
    assert all(says in found[name].note for name in failing)


def test_any_host_lets_accuracy_and_size_through_and_nothing_else() -> None:
    base = alone(record())
    result = gate([host(base, "other")], [base], replace(DEFAULT, hosts="any"))
    cannot = {it.quantity for it in result.checks if it.status is Status.CANNOT}
    assert cannot == {"latency_median", "memory"}


def test_another_latency_rule_is_not_compared() -> None:
    base = alone(record())
    result = gate([protocol(base, latency_rule="2 runs")], [base])
    assert "latency rules" in {it.quantity: it for it in result.checks}["latency_median"].note


def test_the_same_record_is_equal_to_itself() -> None:
    found = alone(record())
    assert gate([found], [found]).status is Status.PASS


def test_where_the_baselines_file_was_measured_beside_it_that_run_counts() -> None:
    reviewed = host(alone(other_candidate(record(seed=7), sha256="baseline")), "another machine")
    result = gate([record(slower=1.2)], [reviewed])
    checks = {it.quantity: it for it in result.checks}
    assert checks["latency_median"].status is Status.FAIL
    assert "in turns" in checks["latency_median"].how and result.baseline == "baseline"
    other = protocol(reviewed, data_sha256="x")
    assert gate([record()], [other]).status is Status.CANNOT


def test_a_candidate_is_chosen_by_name_where_there_are_more() -> None:
    found = record()
    third = replace(found.measurements[1], name="third")
    more = replace(found, measurements=(*found.measurements, third))
    with pytest.raises(InputError, match="'candidate', 'third': choose with --name"):
        gate([more])
    assert gate([more], name="third").candidate == "third"
    assert gate([more], name="third", baseline_name="candidate").baseline == "candidate"


def test_libraries_that_changed_and_a_missing_digest_are_said() -> None:
    base, other = alone(record()), alone(record())
    other = replace(
        other, environment=replace(other.environment, libraries={"onnxruntime": "9"}), digest=""
    )
    notes = " ".join(gate([other], [base]).notes)
    assert "onnxruntime was none, is 9." in notes and "no digest" in notes


def test_rare_classes_are_not_gated() -> None:
    rare = counts(0.5, of_class=1)
    rare[:, 4:, 1] = 0  # in four images only
    found = checked(record(table=rare))["worst_class"]
    assert found.status is Status.PASS and "1 in fewer than 5 images not gated" in found.note


def test_all_classes_hold_at_once() -> None:
    """Of 20 equal models' classes none may fail alone: budgets of 0, images swapped at random."""
    rng = np.random.default_rng(5)
    failed = 0
    for _ in range(60):
        table = counts(0.04, images=40)
        swapped = rng.random(40) < 0.5
        table = np.where(swapped[None, :, None, None], table[::-1], table)
        policy = budget("worst_class", 0.0, "points", replicates=300)
        failed += checked(record(table=table), policy)["worst_class"].status is Status.FAIL
    assert failed <= 7  # 5 % of 60, plus three standard deviations: 3 + 5; one side: half of it


def test_student_agrees_with_his_tables() -> None:
    for freedom, wanted in ((1, 12.706), (2, 4.303), (3, 3.182), (10, 2.228), (120, 1.980)):
        assert quantile(0.95, freedom) == pytest.approx(wanted, abs=5e-3)
    change, low, high = difference([1.0, 2.0, 3.0], [4.0], 0.95)
    assert change == 2.0 and high == pytest.approx(4 - low)
    assert low == pytest.approx(2 - 4.3027 * (1 * (1 / 3 + 1)) ** 0.5, abs=1e-3)


def test_warnings_about_times_are_said_where_times_are_gated() -> None:
    found = record()
    noisy = other_candidate(found, warnings=("Latency spreads.", "an assumption"))
    noisy = replace(noisy, warnings=("Busy machine.",))
    assert gate([noisy]).notes == ("Busy machine.", "candidate: Latency spreads.")
    assert gate([noisy], policy=budget("memory", 5)).notes == ()


def test_times_measured_again_count_alone() -> None:
    first, second = alone(host(record(seed=1), "old")), alone(record(seed=2))
    pair = replace(find_pair([second], [first]), retimed=record(slower=1.2))
    checks = {it.quantity: it for it in check_pair(pair).checks}
    assert checks["latency_median"].status is Status.FAIL
    assert checks["latency_median"].how.endswith("median ratio, by ranks")
    assert checks["memory"].status is Status.CANNOT  # of another machine, and not measured again


def test_a_clear_loss_is_not_called_unclear() -> None:
    few = counts(0.3, images=8)
    found = checked(record(table=few), budget("miou", 0.1, "points"))["miou"]
    assert found.status is Status.FAIL and found.note == ""


def test_limits_of_a_median_hold_as_often_as_they_say() -> None:
    for count, low, high in ((8, 1, 8), (10, 2, 9), (20, 6, 15), (60, 22, 39)):  # Conover, table A3
        assert median_limits(np.arange(1.0, count + 1), 0.95) == (low, high)
    rng = np.random.default_rng(8)
    limits = [median_limits(rng.exponential(1, 20), 0.95) for _ in range(2000)]
    held = np.mean([low <= np.log(2) <= high for low, high in limits])
    assert 0.945 <= held <= 0.975  # exactly 95.9 %, and three standard deviations of 0.44 %


def test_more_confidence_wants_more_rounds() -> None:
    policy = replace(budget("latency_median", 5), confidence=0.999)
    assert checked(record(rounds=10), policy)["latency_median"].status is Status.CANNOT
    assert checked(record(rounds=11), policy)["latency_median"].status is Status.PASS
