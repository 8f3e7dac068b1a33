"""A lean child process that opens one artifact and measures it; JSON lines in, JSON lines out.

`python -m segship.benchmark.worker` reads one request a line, {"do": NAME, …}, and answers each
with one line, {"ok": {…}} or {"error": TEXT, "exit_code": N}. Memory and cold start are measured
here, so nothing is imported before a request needs it, and torch only where the runtime or the
post-processing is torch.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from ..common.errors import InputError, SegshipError
from ..runtimes.catalog import runtime_named

if TYPE_CHECKING:
    from ..data.contract import Contract
    from ..runtimes.session import Session

Reply = dict[str, Any]
QUIT = '{"do": "quit"}'
IN_GRAPH = "in-graph"
PARTS = ("decode", "preprocess", "inference", "postprocess")


class Worker:
    """The state of the child: at most one open session."""

    def __init__(self) -> None:
        """Start with nothing open."""
        self._session: Session | None = None
        self._before_mib = 0.0
        self._pixels: dict[tuple[int, ...], Any] = {}
        self._commands: dict[str, Callable[..., Reply]] = {
            "import": self.import_runtime,
            "open": self.open,
            "fit": self.fit,
            "run": self.run,
            "frame": self.frame,
            "memory": self.memory,
            "notes": self.notes,
        }

    def answer(self, line: str) -> Reply:
        """Return the reply to one request line; every exception becomes an error reply."""
        try:
            request = json.loads(line)
            command = self._commands[request.pop("do")]
            return {"ok": command(**request)}
        except SegshipError as error:
            return {"error": str(error), "exit_code": error.exit_code}
        except MemoryError:
            return {"error": "Not enough memory for this artifact at this size.", "exit_code": 1}
        except Exception as error:  # the parent must hear of anything that went wrong
            text = " ".join(str(error).split())
            return {"error": f"{type(error).__name__}: {text[:500]}", "exit_code": 1}

    def import_runtime(self, *, runtime: str) -> Reply:
        """Import what opening on `runtime` needs, for the cold start to be split."""
        importlib.import_module(runtime_named(runtime).module)
        importlib.import_module("..runtimes.open", __package__)
        return {}

    def open(self, *, source: str, runtime: str, precision: str, threads: int | None) -> Reply:
        """Open the artifact and describe it."""
        from ..runtimes.open import open_session

        self._before_mib = _status_mib("VmRSS")
        start = time.perf_counter()
        session = open_session(source, runtime=runtime, precision=precision, threads=threads)
        open_ms = _ms_since(start)
        self._session = session
        return {
            "open_ms": open_ms,
            "runtime": session.runtime,
            "precision": session.precision,
            "threads": session.threads,
            "contract": session.contract.to_json(),
        }

    def fit(self, *, batch: int, size_px: list[int] | None) -> Reply:
        """Refuse a batch or size the artifact does not take; return the contract at that size."""
        return {"contract": self._opened(size_px, batch)[1].to_json()}

    def run(self, *, runs: int, batch: int, size_px: list[int] | None, seed: int = 0) -> Reply:
        """Run `runs` times on seeded pixels of (batch,3,*size_px) and return each time in ms."""
        session, contract = self._opened(size_px, batch)
        from .opened import input_shape, synthetic_pixels

        shape = input_shape(contract, batch)
        if shape not in self._pixels:
            self._pixels = {shape: synthetic_pixels(shape, session.input.dtype, seed)}
        pixels = self._pixels[shape]
        times: list[float] = []
        device: dict[str, list[float]] = {}
        for _ in range(runs):
            start = time.perf_counter()
            session.run(pixels)
            times.append(_ms_since(start))
            for name, step_ms in (session.device_times_ms() or {}).items():
                device.setdefault(name, []).append(step_ms)
        return {"times_ms": times, "device_ms": device}

    def frame(self, *, image: str, runs: int, size_px: list[int] | None, postprocess: str) -> Reply:
        """Take an encoded image (base64) to a label map at its size, `runs` times; four parts."""
        session, contract = self._opened(size_px, 1)
        from ..data.preprocess import decode, preprocess
        from .subject import Subject

        if postprocess == "dense-torch":
            _limit_torch(session.threads)
        data = base64.b64decode(image)
        subject = Subject("frame", session, contract, postprocess)
        parts: dict[str, list[float]] = {name: [] for name in (*PARTS, "total")}
        for _ in range(runs):
            marks = [time.perf_counter()]
            pixels = decode(data)
            marks.append(time.perf_counter())
            tensor = preprocess(pixels, contract)
            marks.append(time.perf_counter())
            outputs = subject.outputs(tensor)
            marks.append(time.perf_counter())
            size = (pixels.shape[0], pixels.shape[1])
            subject.seen(outputs, size, size)
            marks.append(time.perf_counter())
            for index, name in enumerate(PARTS):
                parts[name].append(1e3 * (marks[index + 1] - marks[index]))
            parts["total"].append(1e3 * (marks[-1] - marks[0]))
        return {"times_ms": parts}

    def memory(self) -> Reply:
        """Return peak resident memory, that before opening, and the device's by purpose; in MiB."""
        device = self._session.device_memory_mib() if self._session else None
        return {
            "peak_mib": _status_mib("VmHWM"),
            "before_mib": self._before_mib,
            "device_mib": device or {},
        }

    def notes(self) -> Reply:
        """Return what the open session says of itself."""
        return {"notes": list(self._session.notes) if self._session else []}

    def _opened(self, size_px: list[int] | None, batch: int) -> tuple[Session, Contract]:
        if self._session is None:
            raise InputError("Expected an open artifact, but nothing was opened: send open first.")
        from .opened import contract_at

        size = (size_px[0], size_px[1]) if size_px else None
        return self._session, contract_at(self._session, size, batch)


def serve(requests: TextIO, replies: TextIO) -> None:
    """Answer requests line by line until "quit" or the end of input (a parent that died)."""
    worker = Worker()
    for line in requests:
        if line.strip() == QUIT:
            break
        replies.write(json.dumps(worker.answer(line)) + "\n")
        replies.flush()


def claim_stdout() -> TextIO:
    """Return the real stdout and send whatever else is printed, by C libraries too, to stderr."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return channel


def _limit_torch(threads: int) -> None:
    """Give torch's post-processing as many threads as the session has."""
    import torch

    torch.set_num_threads(threads)


def _ms_since(start: float) -> float:
    return 1e3 * (time.perf_counter() - start)


def _status_mib(key: str) -> float:
    """Return VmRSS or VmHWM of this process in MiB (Linux), else its peak as the OS counts it.

    VmHWM belongs to this program alone; getrusage's ru_maxrss survives exec and would start at
    the parent's size. https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(key + ":"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


if __name__ == "__main__":
    serve(sys.stdin, claim_stdout())
