"""gate.yaml: how much worse than the baseline a candidate may be, quantity by quantity.

hosts: same          # any: of another machine's record, accuracy, agreement and file size count
confidence: 0.95     # of every interval
replicates: 1000     # of every bootstrap
budgets:             # what is not named is not gated
  miou: {max_drop: 0.5, unit: points, reason: agreed with the product team}
  worst_class: {max_drop: 3, unit: points}
  latency_median: {max_increase: 5, unit: percent}
  latency_p99: {max_increase: 30, unit: percent}
  memory: {max_increase: 5, unit: percent}
  device_memory: {max_increase: 64, unit: MiB}
  file_size: {max_increase: 1, unit: MiB}
  pixel_agreement: {min: 99, unit: percent}
  energy: {max_increase: 5, unit: percent}
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...common.errors import InputError
from ...common.fields import Reader, count, read_fields, text
from ...common.yaml_file import read_yaml

HOSTS = ("same", "any")
POINTS, PERCENT, MIB, MS, MJ = "points", "percent", "MiB", "ms", "mJ"
_DROP, _INCREASE, _LEAST = "max_drop", "max_increase", "min"
# quantity → (the key of its limit, units)
QUANTITIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "miou": (_DROP, (POINTS,)),
    "worst_class": (_DROP, (POINTS,)),
    "pixel_agreement": (_LEAST, (PERCENT,)),
    "latency_median": (_INCREASE, (PERCENT, MS)),
    "latency_p99": (_INCREASE, (PERCENT, MS)),
    "memory": (_INCREASE, (PERCENT, MIB)),
    "device_memory": (_INCREASE, (PERCENT, MIB)),
    "file_size": (_INCREASE, (PERCENT, MIB)),
    "energy": (_INCREASE, (PERCENT, MJ)),
}
# what another machine has no say in
OF_NO_HOST = frozenset({"miou", "worst_class", "pixel_agreement", "file_size"})
_MOST = 1e9  # of any limit: above it no budget is one
_LIMITS = {PERCENT: 1000.0, POINTS: 100.0}


@dataclass(frozen=True)
class Budget:
    """The most a quantity may lose; `limit` is in `unit` (of pixel_agreement the least share)."""

    quantity: str
    limit: float
    unit: str
    reason: str = ""


@dataclass(frozen=True)
class Policy:
    """Budgets and how sure the gate must be; `source` names the file, "default" without one."""

    budgets: tuple[Budget, ...]
    hosts: str = "same"
    confidence: float = 0.95
    replicates: int = 1000
    source: str = "default"


DEFAULT = Policy(
    (
        Budget("miou", 0.5, POINTS),
        Budget("worst_class", 3.0, POINTS),
        Budget("latency_median", 5.0, PERCENT),
        Budget("memory", 5.0, PERCENT),
        Budget("file_size", 5.0, PERCENT),
    )
)


def load_policy(path: Path) -> Policy:
    """Read a policy and refuse what no gate could follow.

    Raises:
        InputError: the file is missing or no YAML, a key is unknown (the known ones are named),
            a limit or a unit does not belong to its quantity, or nothing is budgeted.
    """
    found = read_fields(read_yaml(path, "a policy"), str(path), _POLICY, required=("budgets",))
    return Policy(source=path.name, **found)


def _budgets(values: Any, where: str) -> tuple[Budget, ...]:
    readers: dict[str, Reader] = dict.fromkeys(QUANTITIES, lambda value, _: value)
    rows = read_fields(values, where, readers, required=())
    if not rows:
        raise InputError(f"{where}: expected a budget, but got none: a gate needs one.")
    return tuple(_budget(name, row, f"{where}, {name}") for name, row in rows.items())


def _budget(name: str, values: Any, where: str) -> Budget:
    key, units = QUANTITIES[name]
    readers = {key: _limit, "unit": _one_of(units), "reason": text}
    row = read_fields(values, where, readers, required=(key, "unit"))
    limit, unit = row[key], row["unit"]
    most = 100.0 if key == _LEAST else _LIMITS.get(unit, math.inf)
    if limit > most:
        raise InputError(f"{where}: expected at most {most:g} {unit}, but got {limit:g}.")
    return Budget(name, limit, unit, row.get("reason", ""))


def _one_of(known: Sequence[str]) -> Reader:
    def read(value: Any, where: str) -> str:
        if not isinstance(value, str) or value not in known:
            raise InputError(f"{where}: expected {' or '.join(known)}, but got {value!r}.")
        return value

    return read


def _limit(value: Any, where: str) -> float:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not plain or not 0 <= value <= _MOST:  # NaN and infinity are not
        raise InputError(f"{where}: expected a number from 0 on, but got {_cut(value)}.")
    return float(value)


def _cut(value: Any) -> str:
    """Write a value for an error, no longer than a line holds."""
    written = repr(value)
    return written if len(written) <= 60 else f"{written[:60]}…"


def _confidence(value: Any, where: str) -> float:
    if not isinstance(value, float) or not 0.5 <= value <= 0.999:
        raise InputError(f"{where}: expected a share from 0.5 to 0.999, but got {value!r}.")
    return value


def _replicates(value: Any, where: str) -> int:
    found = count(value, where)
    if not 200 <= found <= 100_000:
        raise InputError(f"{where}: expected 200 to 100000, but got {found}.")
    return found


_POLICY: dict[str, Reader] = {
    "hosts": _one_of(HOSTS),
    "confidence": _confidence,
    "replicates": _replicates,
    "budgets": _budgets,
}
