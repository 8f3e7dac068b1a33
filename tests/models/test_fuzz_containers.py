"""2,000 damaged files: each is refused in one line or read correctly, within 1 GiB and 5 s."""

from __future__ import annotations

import json
import subprocess
import sys

COUNT = 2000


def test_damaged_containers_are_refused_or_read_correctly() -> None:
    """The limits need a process of their own, and a crash there is a failure here."""
    command = [sys.executable, "-m", "segship.tests.models.fuzz_run", str(COUNT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["failures"] == [] and done.returncode == 0
    outcomes = result["outcomes"]
    assert sum(outcomes.values()) == COUNT + COUNT // 20
    both = ("whole", "visible", "same as torch", "parsed", "any")  # these can go either way
    either = [f"{rule} {outcome}" for rule in both for outcome in ("refused", "loaded")]
    for outcome in (*either, "exact loaded", "model refused", "good model loaded"):
        assert outcomes.get(outcome, 0) > 0, f"no file was {outcome}"
