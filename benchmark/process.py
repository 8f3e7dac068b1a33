"""The parent's end of a worker: start it, ask, and never leave it behind."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import IO, Any

from ..common.errors import CheckFailedError, InputError
from .worker import QUIT

Reply = dict[str, Any]
TIMEOUT_S = 600.0
_QUIT_GRACE_S = 2.0
_COMMAND = (sys.executable, "-m", "segship.benchmark.worker")


class WorkerProcess:
    """A fresh process that measures one artifact; use it as a context manager."""

    def __init__(
        self, label: str, *, timeout_s: float = TIMEOUT_S, command: Sequence[str] = _COMMAND
    ) -> None:
        """Start the process; `label` names it in errors, `timeout_s` bounds every request."""
        self.label = label
        self.timeout_s = timeout_s
        self.started = time.perf_counter()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()
        # Own session: Ctrl-C reaches the parent only, which then ends the child in `close`.
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
            env={**os.environ, "PYTHONSAFEPATH": "1"},  # the caller's folder is no import path
        )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._pump, daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id, for CPU accounting."""
        return self._process.pid

    def request(self, do: str, *, timeout_s: float | None = None, **arguments: Any) -> Reply:
        """Send one request and return its reply.

        Raises:
            InputError: the worker refused the request (its own message).
            CheckFailedError: it failed, died or did not answer in time; a worker that did not
                answer is ended.
        """
        try:
            self._send(json.dumps({"do": do, **arguments}))
        except OSError as error:
            raise self._died(do) from error
        limit = self.timeout_s if timeout_s is None else timeout_s
        try:
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            self._kill()
            raise CheckFailedError(
                f"Expected {self.label} to answer {do!r} within {limit:g} s, but it did not: "
                "measure fewer runs or a smaller size."
            ) from None
        if not line:
            raise self._died(do)
        return self._unwrap(line)

    def close(self) -> None:
        """Ask the worker to quit, and end it if it does not; safe to call twice."""
        with contextlib.suppress(OSError):  # it may be gone already
            self._send(QUIT)
        try:
            self._process.wait(_QUIT_GRACE_S)
        except subprocess.TimeoutExpired:
            pass
        self._kill()
        self._stderr.close()

    def __enter__(self) -> WorkerProcess:
        """Return the running worker."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the worker; at once when an exception (Ctrl-C too) is on its way."""
        if kind is not None:
            self._kill()
        self.close()

    def _send(self, line: str) -> None:
        if self._process.stdin is None or self._process.stdin.closed:
            raise BrokenPipeError("the worker was closed")
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def _pump(self) -> None:
        """Move reply lines from the pipe to the queue; an empty one says that the pipe ended."""
        if self._process.stdout is not None:
            for line in self._process.stdout:
                self._lines.put(line)
            self._process.stdout.close()
        self._lines.put(b"")

    def _unwrap(self, line: bytes) -> Reply:
        try:
            reply = json.loads(line)
            if "ok" in reply:
                return dict(reply["ok"])
            text, code = str(reply["error"]), int(reply["exit_code"])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckFailedError(f"{self.label}: the worker answered no JSON reply.") from error
        if code == InputError.exit_code:
            raise InputError(f"{self.label}: {text}")
        raise CheckFailedError(f"{self.label}: {text}")

    def _died(self, do: str) -> CheckFailedError:
        """Return the error for a worker whose pipe broke, with what it said last."""
        code = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        said = f" and said: {lines[-1].strip()}" if lines else ""
        why = " (killed, perhaps for memory)" if code == -9 else ""
        return CheckFailedError(
            f"{self.label}: the worker ended during {do!r} with exit code {code}{why}{said}"
        )

    def _kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # unsent bytes for a reader that is gone
                self._process.stdin.close()
