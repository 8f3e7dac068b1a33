"""Latency against a baseline: by rounds of one run, or by repeated runs; else not at all.

Two runs differ by more than the samples within one tell (another process, another neighbour on
the machine), so one run of each, measured apart, decides nothing.

* In one record both took turns. Every round gives one ratio; the median ratio has an exact
  distribution-free interval by ranks (Conover, Practical Nonparametric Statistics, 3.2).
* In several records every run gives one logarithm; Student's t over runs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..record import Measurement, Samples
from ..samples import P99_MINIMUM
from .outcome import Check, Incomparable, Status, judge, too_wide
from .pairing import Pair
from .policy import MS, PERCENT, Budget, Policy
from .student import difference

ROUND = 5  # consecutive samples compared as one round; both sides took them in turns
FEWEST_ROUNDS = 8
FEWEST_RUNS = 4  # of both sides together: the spread between runs has 2 degrees of freedom
Floats = NDArray[np.float64]


def check_latency(pair: Pair, budget: Budget, policy: Policy) -> Check:
    """Check the median or the 99th percentile of the latency.

    Raises:
        Incomparable: there are too few samples or runs, or they were made otherwise.
    """
    tail = budget.quantity == "latency_p99"
    old, new, together = pair.timed
    base, other = ([_latency(it, tail) for it in items] for items in (old, new))
    _refuse_settings(pair)
    if together:
        found, how = _by_rounds(base[0], other[0], tail, policy)
    elif base == other:
        found, how = (0.0, 0.0, 0.0), "the same samples"
    else:
        found, how = _by_runs(base, other, tail, policy)
    before, after = (float(np.median([_value(it, tail) for it in side])) for side in (base, other))
    return ratio_check(budget, how, MS, before, after, found)


def ratio_check(
    budget: Budget,
    how: str,
    unit: str,
    before: float,
    after: float,
    logarithms: tuple[float, float, float],
) -> Check:
    """Return the check of a ratio after / before, given as logarithms with its limits."""
    scale = 100.0 if budget.unit == PERCENT else before
    change, low, high = (scale * math.expm1(value) for value in logarithms)
    status = judge(change, low, high, budget.limit)
    note = ""
    if status is Status.WARN and too_wide(low, high, budget.limit):
        note = "too noisy to tell: the interval is wider than the budget"
    return Check(budget, status, how, unit, before, after, change, low, high, note)


def median_limits(values: Floats, confidence: float) -> tuple[float, float]:
    """Return exact limits of the median of independent values: two order statistics.

    >>> median_limits(np.arange(1.0, 21), 0.95)
    (6.0, 15.0)
    """
    ordered, count = np.sort(values), len(values)
    below, total = 0, 0.0
    while True:  # largest rank whose tail of Binomial(n, 1/2) stays below the error
        total += math.comb(count, below) / 2**count
        if total > (1 - confidence) / 2:
            break
        below += 1
    rank = max(below, 1)
    return float(ordered[rank - 1]), float(ordered[count - rank])


def _latency(item: Measurement, tail: bool) -> Samples:
    found = item.latency
    if found is None or not found.samples_ms:
        raise Incomparable(f"{item.name!r} has no latency: measure it with `segship benchmark`")
    if min(found.samples_ms) <= 0:
        raise Incomparable(f"{item.name!r} has a time that is not above 0")
    if tail and len(found.samples_ms) < P99_MINIMUM:
        raise Incomparable(f"a 99th percentile wants {P99_MINIMUM} samples, but {item.name!r} has "
                           f"{len(found.samples_ms)}: raise --rounds")  # fmt: skip  # one sentence
    return found


def _value(times: Samples, tail: bool) -> float:
    """Return the quantity in ms, of the samples and not of a summary beside them."""
    return float(np.percentile(times.samples_ms, 99 if tail else 50))


def _refuse_settings(pair: Pair) -> None:
    items = (*pair.base, *pair.other)
    records = (*pair.base_records, *pair.other_records) if pair.retimed is None else ()
    for name, found in (
        ("numbers of threads", {item.threads for item in items}),
        ("batches", {item.batch for item in items}),
        ("input sizes", set() if pair.together else {_size(item) for item in items}),
        ("latency rules", {record.protocol.latency_rule for record in records}),
    ):
        if len(found) > 1:
            raise Incomparable(f"other {name}: {', '.join(sorted(map(str, found)))}")


def _size(item: Measurement) -> str:
    return "x".join(map(str, item.input_shape[2:]))


def _by_rounds(
    base: Samples, other: Samples, tail: bool, policy: Policy
) -> tuple[tuple[float, float, float], str]:
    if len(base.samples_ms) != len(other.samples_ms):
        raise Incomparable("other numbers of samples: the two were not measured in turns")
    rounds = len(base.samples_ms) // ROUND
    if rounds < FEWEST_ROUNDS or 2.0 ** (1 - rounds) > 1 - policy.confidence:
        raise Incomparable(f"{len(base.samples_ms)} samples are too few: "
                           f"measure {FEWEST_ROUNDS * ROUND} or more")  # fmt: skip  # one sentence
    first, second = (np.log(it.samples_ms[: rounds * ROUND]).reshape(rounds, ROUND)
                     for it in (base, other))  # fmt: skip  # one pair
    if tail:
        return _tail_by_rounds(first, second, policy), (
            f"{rounds} rounds of one run, in turns; bootstrap over rounds"
        )
    ratios = np.median(second, axis=1) - np.median(first, axis=1)
    low, high = median_limits(ratios, policy.confidence)
    how = f"{rounds} rounds of one run, in turns; median ratio, by ranks"
    return (float(np.median(ratios)), low, high), how


def _tail_by_rounds(first: Floats, second: Floats, policy: Policy) -> tuple[float, float, float]:
    """Return the log ratio of the 99th percentiles (rounds, ROUND) with its limits."""
    rounds = len(first)
    drawn = np.random.default_rng(0).integers(0, rounds, (policy.replicates, rounds))
    tail = (1 - policy.confidence) / 2
    ratios = _tails(second[drawn]) - _tails(first[drawn])
    low, high = np.quantile(ratios, (tail, 1 - tail))
    return float((_tails(second[None]) - _tails(first[None]))[0]), float(low), float(high)


def _tails(logarithms: Floats) -> Floats:
    """Return the 99th percentile (N,) of every one of N sets of rounds (N, rounds, ROUND)."""
    return np.asarray(np.percentile(logarithms.reshape(len(logarithms), -1), 99, axis=1))


def _by_runs(
    base: list[Samples], other: list[Samples], tail: bool, policy: Policy
) -> tuple[tuple[float, float, float], str]:
    runs = len(base) + len(other)
    if runs < FEWEST_RUNS:
        raise Incomparable(
            "one run says nothing of another: measure the baseline's artifact beside the candidate "
            f"(or use --remeasure), or give {FEWEST_RUNS} or more runs of both together"
        )
    rows = [[math.log(_value(it, tail)) for it in side] for side in (base, other)]
    found = difference(rows[0], rows[1], policy.confidence)
    return found, f"{len(base)} and {len(other)} runs; Student's t over runs"
