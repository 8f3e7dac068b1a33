"""Which steps of a run are done: a small file beside the results, keyed by input hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.files import sha256_file, write_text

STATE_FILE = "steps.json"
_VERSION = 1


@dataclass
class Steps:
    """The finished steps of one output folder.

    A step is finished when the hash of its inputs is the recorded one and the file it made is
    still there with the recorded content. Written after every step, so that an interrupted run
    loses only the step it was in.
    """

    folder: Path
    resume: bool
    done: dict[str, dict[str, str]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    @staticmethod
    def open(folder: Path, *, resume: bool) -> Steps:
        """Create or reopen the output folder of a run.

        Raises:
            InputError: it cannot be made, or holds files that no run wrote.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            strangers = [item for item in folder.iterdir() if not item.name.startswith(".")]
        except OSError as error:
            raise InputError(f"Cannot use the output folder {folder}: {error.strerror}.") from error
        state = folder / STATE_FILE
        if strangers and not state.exists():
            raise InputError(
                f"Expected an empty folder or one of an earlier run, but {folder} holds "
                f"{strangers[0].name}: choose another output."
            )
        steps = Steps(folder, resume, _read(state))
        steps._save()
        return steps

    def run(self, name: str, inputs: dict[str, Any], output: Path, work: Callable[[], None]) -> str:
        """Do `work`, which writes `output`, unless it is done; return the output's SHA-256."""
        key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        before = self.done.get(name, {})
        if self.resume and before.get("inputs") == key and _holds(output, before):
            self.skipped.append(name)
            return before["sha256"]
        self.done.pop(name, None)
        work()
        digest = sha256_file(output)
        self.done[name] = {"inputs": key, "sha256": digest}
        self._save()
        return digest

    def _save(self) -> None:
        state = {"version": _VERSION, "steps": self.done}
        write_text(self.folder / STATE_FILE, json.dumps(state, indent=1) + "\n")


def _holds(output: Path, before: dict[str, str]) -> bool:
    return output.is_file() and sha256_file(output) == before.get("sha256")


def _read(state: Path) -> dict[str, dict[str, str]]:
    """Return the recorded steps; an unreadable state only means that everything is done again."""
    try:
        values = json.loads(state.read_text(encoding="utf-8"))
        return dict(values["steps"]) if values["version"] == _VERSION else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
