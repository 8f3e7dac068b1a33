"""What is counted and not timed: memory, file size."""

from __future__ import annotations

import math

from ..record import Measurement
from .latency import ratio_check
from .outcome import Check, Incomparable
from .pairing import Pair
from .policy import MIB, Budget, Policy
from .student import difference


def check_memory(pair: Pair, budget: Budget, policy: Policy) -> Check:
    """Check the peak of the host's memory over fresh processes.

    Raises:
        Incomparable: a side has no two processes.
    """
    sides = [[peak for it in items for peak in _peaks(it)] for items in (pair.base, pair.other)]
    if min(map(len, sides)) < 2 or min(map(min, sides)) <= 0:
        raise Incomparable("the memory of two or more fresh processes a side is needed: "
                           "measure again, with --starts 3")  # fmt: skip  # one sentence
    logarithms = [[math.log(value) for value in side] for side in sides]
    found = difference(logarithms[0], logarithms[1], policy.confidence)
    before, after = (math.exp(sum(side) / len(side)) for side in logarithms)
    how = f"{len(sides[0])} and {len(sides[1])} fresh processes; Student's t"
    return ratio_check(budget, how, MIB, before, after, found)


def check_exact(pair: Pair, budget: Budget) -> Check:
    """Check a number that does not vary: the file's size, the memory taken on a device.

    Raises:
        Incomparable: a side does not have it.
    """
    device = budget.quantity == "device_memory"
    before, after = (_exact(item, device) for item in (pair.base[0], pair.other[0]))
    change = math.log(after / before)
    return ratio_check(budget, "one number each", MIB, before, after, (change, change, change))


def _exact(item: Measurement, device: bool) -> float:
    memory = item.memory
    found = memory and (memory.device_mib if device else memory.file_mib)
    if not found:
        what = "device memory" if device else "file size"
        raise Incomparable(f"{item.name!r} has no {what}: measure it with `segship benchmark`")
    return float(found)


def _peaks(item: Measurement) -> tuple[float, ...]:
    return item.memory.peaks_mib if item.memory else ()
