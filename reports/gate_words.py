"""A gate's numbers and sentences, the same in the terminal, Markdown, JUnit and annotations."""

from __future__ import annotations

from ..benchmark.gate.outcome import Check, GateResult, Status
from .format import ABSENT, MINUS

_NAMES = {"miou": "mIoU", "latency_p99": "latency p99"}
_SHORT = {"percent": "%", "points": "pt"}


def quantity(check: Check) -> str:
    """Return the name of what was checked."""
    return _NAMES.get(check.quantity, check.quantity.replace("_", " "))


def value(number: float | None, unit: str) -> str:
    """Write a value with its unit.

    >>> value(12.3456, "ms"), value(56.789, "points"), value(None, "ms")
    ('12.35 ms', '56.79', '–')
    """
    if number is None:
        return ABSENT
    return f"{number:,.2f} {unit}" if unit != "points" else f"{number:.2f}"


def change(check: Check) -> str:
    """Write how much worse the candidate is, with its interval."""
    if check.change is None or check.low is None or check.high is None:
        return ABSENT
    share = check.quantity == "pixel_agreement"
    numbers = [_number(it, share) for it in (check.change, check.low, check.high)]
    unit = _SHORT.get(check.budget.unit, check.budget.unit)
    if check.low == check.high:
        return f"{numbers[0]} {unit}"
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}] {unit}"


def budget(check: Check) -> str:
    """Write the limit."""
    unit = _SHORT.get(check.budget.unit, check.budget.unit)
    if check.quantity == "pixel_agreement":
        return f"≥ {check.budget.limit:g} {unit}"
    sign = MINUS if check.quantity in ("miou", "worst_class") else "+"
    return f"{sign}{check.budget.limit:g} {unit}"


def sentence(check: Check) -> str:
    """Return one line about a check: what came of it, by how much, and why the budget stands."""
    parts = [f"{quantity(check)}: {check.status.value}"]
    if check.change is not None:
        before = value(check.baseline, check.unit)
        after = value(check.candidate, check.unit)
        parts.append(f"{before} → {after}, worse by {change(check)}, budget {budget(check)}")
        if check.quantity == "pixel_agreement":
            parts[-1] = f"{change(check)}, budget {budget(check)}"
    if check.note:
        parts.append(check.note)
    if check.budget.reason and check.status is not Status.PASS:
        parts.append(f"the budget's reason: {check.budget.reason}")
    return "; ".join(parts) + "."


def verdict(result: GateResult) -> str:
    """Return the headline of a gate."""
    words = {
        Status.PASS: "within every budget of",
        Status.WARN: "not surely beyond a budget of",
        Status.FAIL: "beyond a budget of",
        Status.CANNOT: "not comparable with",
    }[result.status]
    against = result.baseline if result.baseline != result.candidate else "its baseline"
    return f"{result.candidate}: {words} {against} (policy: {result.policy})"


def _number(number: float, share: bool) -> str:
    text = f"{number:.2f}" if share else f"{number:+.2f}"
    return ("0.00" if float(text) == 0 else text).replace("-", MINUS)
