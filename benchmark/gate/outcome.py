"""What a gate found: one check per budget, and what they amount to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from .policy import Budget


class Status(Enum):
    """How a check ended; FAIL and CANNOT fail the gate."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    CANNOT = "cannot compare"


@dataclass(frozen=True)
class Check:
    """One budget, compared.

    `change` is how much worse the candidate is, in the budget's unit (of pixel_agreement the share
    itself), with its interval; `baseline` and `candidate` are in `unit`. All None where nothing
    could be compared. `how` is the method, `note` what a person should know.
    """

    budget: Budget
    status: Status
    how: str
    unit: str = ""
    baseline: float | None = None
    candidate: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def quantity(self) -> str:
        """The quantity the budget is for."""
        return self.budget.quantity


@dataclass(frozen=True)
class GateResult:
    """All checks of one gate; `baseline` and `candidate` name the measurements compared."""

    baseline: str
    candidate: str
    policy: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """The gravest status of all checks."""
        order = (Status.CANNOT, Status.FAIL, Status.WARN)
        found = {check.status for check in self.checks}
        return next((status for status in order if status in found), Status.PASS)

    @property
    def passed(self) -> bool:
        """Say whether no check failed or could not be made."""
        return self.status in (Status.PASS, Status.WARN)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        rows = []
        for check in self.checks:
            row = asdict(check)
            budget = row.pop("budget")
            rows.append({**budget, **row, "status": check.status.value})
        return {
            "passed": self.passed,
            "status": self.status.value,
            "baseline": self.baseline,
            "candidate": self.candidate,
            "policy": self.policy,
            "checks": rows,
            "notes": list(self.notes),
        }


class Incomparable(Exception):
    """A quantity cannot be compared; its text is the reason and what to do."""


def cannot(budget: Budget, reason: str) -> Check:
    """Return the check of a budget nothing can be said about."""
    return Check(budget, Status.CANNOT, "", note=reason)


def judge(change: float, low: float, high: float, limit: float) -> Status:
    """Return FAIL where the whole interval lies beyond the limit, WARN where the estimate does.

    WARN as well where nothing can be told, see `too_wide`.

    >>> judge(2.0, 1.2, 2.8, 1.0), judge(2.0, 1.0, 3.0, 1.0), judge(0.5, 0.0, 1.0, 1.0)
    (<Status.FAIL: 'fail'>, <Status.WARN: 'warn'>, <Status.PASS: 'pass'>)
    """
    if low > limit:
        return Status.FAIL
    unclear = change > limit or too_wide(low, high, limit)
    return Status.WARN if unclear else Status.PASS


def too_wide(low: float, high: float, limit: float) -> bool:
    """Say whether an interval is so wide that twice the budget could pass unseen.

    A budget of 0 asks for no width: there the interval alone decides.

    >>> too_wide(-1.0, 1.0, 5.0), too_wide(-6.0, 6.0, 5.0)
    (False, True)
    """
    return (high - low) / 2 > limit > 0
