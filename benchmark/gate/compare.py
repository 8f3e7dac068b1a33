"""The gate: every budget of a policy, checked; what cannot be checked fails."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

from ..record import Record
from .accuracy import PairedAccuracy, check_agreement
from .amounts import check_exact, check_memory
from .latency import check_latency
from .outcome import Check, GateResult, Incomparable, cannot
from .pairing import Pair, find_pair
from .policy import DEFAULT, Budget, Policy

_NO_NUMBER = "the change is no finite number: measure again"


def gate(
    records: Sequence[Record],
    baselines: Sequence[Record] = (),
    policy: Policy = DEFAULT,
    *,
    name: str | None = None,
    baseline_name: str | None = None,
) -> GateResult:
    """Hold the candidate of `records` against the baseline; nothing is measured.

    Several records on a side are repeated runs of one measurement. Without `baselines` the
    baseline is the one of the first record. `name` and `baseline_name` choose measurements.

    Raises:
        InputError: no measurement has the name, or the record's counts are damaged.
    """
    return check_pair(find_pair(records, baselines, name=name, baseline_name=baseline_name), policy)


def check_pair(pair: Pair, policy: Policy = DEFAULT) -> GateResult:
    """Check every budget on a pair that was found before.

    Raises:
        InputError: the record's counts are damaged.
    """
    checks = _Checks(pair, policy)
    return GateResult(
        baseline=pair.base[0].name,
        candidate=pair.other[0].name,
        policy=policy.source,
        checks=tuple(checks.check(budget) for budget in policy.budgets),
        notes=tuple(_notes(pair, policy)),
    )


class _Checks:
    """The checks of a pair; the bootstrap over images is drawn once."""

    def __init__(self, pair: Pair, policy: Policy) -> None:
        self.pair = pair
        self.policy = policy

    @cached_property
    def accuracy(self) -> PairedAccuracy:
        """The paired bootstrap over images."""
        pair = self.pair
        return PairedAccuracy(pair.base[0].accuracy, pair.other[0].accuracy, self.policy)

    def check(self, budget: Budget) -> Check:
        """Check a budget, or say why that cannot be done."""
        try:
            self.pair.refuse(budget.quantity, self.policy.hosts)
            found = self._check(budget)
        except Incomparable as reason:
            return cannot(budget, str(reason))
        except OverflowError:
            return cannot(budget, _NO_NUMBER)
        numbers = (found.baseline, found.candidate, found.change, found.low, found.high)
        known = all(number is not None and math.isfinite(number) for number in numbers)
        return found if known else cannot(budget, _NO_NUMBER)

    def _check(self, budget: Budget) -> Check:
        pair, policy = self.pair, self.policy
        match budget.quantity:
            case "miou":
                return self.accuracy.check_miou(budget)
            case "worst_class":
                return self.accuracy.check_worst_class(budget, pair.other_records[0].classes)
            case "pixel_agreement":
                return check_agreement(pair.other[0].accuracy, budget, policy)
            case "latency_median" | "latency_p99":
                return check_latency(pair, budget, policy)
            case "memory":
                return check_memory(pair, budget, policy)
            case "file_size" | "device_memory":
                return check_exact(pair, budget)
        raise Incomparable(f"records hold no {budget.quantity}: take the budget out")


def _notes(pair: Pair, policy: Policy) -> Iterator[str]:
    """Yield what a person should know beside the checks."""
    if not all(record.digest for record in (*pair.base_records, *pair.other_records)):
        yield "A record has no digest: whether it was edited cannot be told."
    old, new = (records[0].environment for records in (pair.base_records, pair.other_records))
    for library in sorted(old.libraries.keys() | new.libraries.keys()):
        before, after = old.libraries.get(library, "none"), new.libraries.get(library, "none")
        if before != after:
            yield f"{library} was {before}, is {after}."
    gated = {budget.quantity for budget in policy.budgets}
    if not gated & {"latency_median", "latency_p99"}:
        return
    timed = (pair.retimed,) if pair.retimed else pair.other_records
    found = [line for record in timed for line in record.warnings]
    base, other, _ = pair.timed
    for item in (base[0], other[0]):
        found += [f"{item.name}: {line}" for line in item.warnings if line.startswith("Latency")]
    tail = "latency_p99" in gated
    yield from dict.fromkeys(line for line in found if tail or "99th percentile" not in line)
