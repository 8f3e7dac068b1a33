"""Which measurement is held against which, and what forbids comparing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...common.errors import InputError
from ..record import Measurement, Record
from .outcome import Incomparable
from .policy import OF_NO_HOST


@dataclass(frozen=True)
class Pair:
    """Baseline and candidate, one measurement per run of each.

    `together`: both are of one record, measured in turns; then there is one run. `records` are
    those the numbers come from, `reference` the record of the baseline as it was reviewed.
    """

    base: tuple[Measurement, ...]
    other: tuple[Measurement, ...]
    base_records: tuple[Record, ...]
    other_records: tuple[Record, ...]
    together: bool
    reference: Record | None
    retimed: Record | None = None  # baseline and candidate, timed once more in turns

    @property
    def timed(self) -> tuple[tuple[Measurement, ...], tuple[Measurement, ...], bool]:
        """Return the measurements whose times count, and whether they took turns."""
        if self.retimed is None:
            return self.base, self.other, self.together
        base, other = self.retimed.measurements
        return (base,), (other,), True

    def refuse(self, quantity: str, hosts: str) -> None:
        """Refuse to compare what other machines, data or protocols have made.

        Raises:
            Incomparable: the first reason, and what to do.
        """
        again = self.retimed is not None and quantity.startswith("latency")
        if not self.together and not again:
            self._refuse_hosts(quantity, hosts)
        if quantity in ("miou", "worst_class") and self.reference is not None:
            _refuse_data(self.reference, self.other_records[0])

    def _refuse_hosts(self, quantity: str, hosts: str) -> None:
        found = {_machine(record) for record in (*self.base_records, *self.other_records)}
        if len(found) == 1 or (hosts == "any" and quantity in OF_NO_HOST):
            return
        advice = "measure both on one machine"
        if quantity in OF_NO_HOST:
            advice += ", or say `hosts: any` in the policy"
        raise Incomparable(f"the records are of other machines: {advice}")


def find_pair(
    records: Sequence[Record],
    baselines: Sequence[Record],
    *,
    name: str | None = None,
    baseline_name: str | None = None,
) -> Pair:
    """Find the candidate in `records` and what it is held against.

    Without `baselines` that is the baseline of its own record. With them, it is the measurement
    of the candidate's name in each; but where the first record has measured that very artifact
    beside the candidate, the two are compared there: one run, in turns.

    Raises:
        InputError: a name is missing or unclear.
    """
    for side in (records, baselines):
        _refuse_twice(side)
    first = records[0]
    candidate = _candidate(first, name)
    others = tuple(_named(record, name, candidate.name) for record in records)
    _refuse_mixture(others)
    if not baselines:
        base = first.measurement(baseline_name or first.baseline)
        if base is candidate:
            raise InputError(
                "Expected a candidate beside the baseline, but the record holds one measurement: "
                "give --baseline, or measure the baseline in the same run."
            )
        return Pair((base,), (candidate,), (first,), (first,), True, None)
    bases = tuple(_named(record, baseline_name, candidate.name) for record in baselines)
    _refuse_mixture(bases)
    twin = next(
        (it for it in first.measurements if it is not candidate and _same(it, bases[0])), None
    )
    if twin is not None:
        return Pair((twin,), (candidate,), (first,), (first,), True, baselines[0])
    return Pair(bases, others, tuple(baselines), tuple(records), False, baselines[0])


def _candidate(record: Record, name: str | None) -> Measurement:
    if name is not None:
        return record.measurement(name)
    items = record.measurements
    found = [item for item in items if item.name != record.baseline] if len(items) > 1 else items
    if len(found) != 1:
        names = ", ".join(repr(item.name) for item in found)
        raise InputError(f"Expected one candidate, but the record has {names}: choose with --name.")
    return found[0]


def _named(record: Record, asked: str | None, usual: str) -> Measurement:
    """Return the measurement that was asked for, else the only one, else that of the usual name."""
    if asked is None and len(record.measurements) == 1:
        return record.measurements[0]
    return record.measurement(asked or usual)


def _refuse_twice(records: Sequence[Record]) -> None:
    """Refuse one run given twice: it would look like two that agree in every sample."""
    for index, record in enumerate(records):
        for other in records[:index]:
            if (record.created, record.measurements) == (other.created, other.measurements):
                raise InputError(
                    f"Expected another run in each record, but that of {record.created} is given "
                    "twice: leave one out."
                )


def _refuse_mixture(runs: Sequence[Measurement]) -> None:
    """Refuse runs of more than one artifact, or of one that was run in two ways."""
    if len({_setting(item) for item in runs}) > 1:
        names = ", ".join(sorted({repr(item.name) for item in runs}))
        raise InputError(
            f"Expected runs of one artifact in one setting, but those of {names} are of several: "
            "gate each on its own."
        )


def _same(one: Measurement, two: Measurement) -> bool:
    """Say whether two measurements are of the same file, run in the same way."""
    return bool(one.sha256) and _setting(one) == _setting(two)


def _setting(item: Measurement) -> tuple[object, ...]:
    shape = tuple(item.input_shape)
    return (item.sha256, item.runtime, item.precision, item.threads, item.batch, shape)


def _machine(record: Record) -> tuple[str, str]:
    gpu = record.environment.gpu
    return record.environment.host_id, gpu.name if gpu else ""


def _refuse_data(base: Record, other: Record) -> None:
    one, two = base.protocol, other.protocol
    for record, whose in ((one, "baseline"), (two, "candidate")):
        if not record.data_sha256:
            raise Incomparable(f"the {whose}'s record has no data set: measure it with --data")
    if one.data_sha256 != two.data_sha256 or one.images != two.images:
        raise Incomparable(f"other data: {one.images} images of {one.data}, now {two.images} of "
                           f"{two.data}")  # fmt: skip  # one sentence
    if one.evaluation != two.evaluation:
        raise Incomparable(f"another protocol: {one.evaluation}; now {two.evaluation}")
