"""A candidate opened in its own live worker: what takes a turn in an interleaved round."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

from ..data.contract import Contract, OutputKind
from .candidate import Candidate
from .process import WorkerProcess
from .worker import IN_GRAPH


@dataclass(frozen=True)
class Timed:
    """Milliseconds of each run by the host's clock, and by the device's per step where it has one.

    A step is "h2d", "compute" or "d2h"; {} where nothing ran on a device of its own.
    """

    times_ms: list[float]
    device_ms: dict[str, list[float]]


@dataclass(frozen=True)
class Turn:
    """One candidate with its worker and what opening it told.

    `candidate` holds the runtime, precision and threads really used; `input_shape` is what the
    latency is measured on.
    """

    candidate: Candidate
    worker: WorkerProcess
    contract: Contract
    input_shape: tuple[int, ...]
    open_ms: float

    @property
    def postprocess(self) -> str:
        """What turns the output into labels: "in-graph" where the artifact does it itself."""
        in_graph = self.contract.output is OutputKind.LABELS
        return IN_GRAPH if in_graph else self.candidate.postprocess

    def at(self, size_px: tuple[int, int] | None, batch: int) -> Turn:
        """Return the turn at another input size (None: the artifact's own) and batch.

        Raises:
            InputError: the artifact is static and takes another one.
        """
        reply = self.worker.request("fit", batch=batch, size_px=size_px)
        contract = Contract.from_json(reply["contract"])
        candidate = replace(self.candidate, size_px=size_px, batch=batch)
        shape = (batch, 3, *contract.size_px)
        return replace(self, candidate=candidate, contract=contract, input_shape=shape)

    def run(self, runs: int, seed: int = 0) -> list[float]:
        """Run the session `runs` times on pixels of `seed`; return milliseconds."""
        return self.timed(runs, seed).times_ms

    def timed(self, runs: int, seed: int = 0) -> Timed:
        """Run as `run` does; return the device's milliseconds per step as well."""
        reply = self.worker.request(
            "run", runs=runs, batch=self.input_shape[0], size_px=self.input_shape[2:], seed=seed
        )
        device = {name: [float(ms) for ms in steps] for name, steps in reply["device_ms"].items()}
        return Timed([float(value) for value in reply["times_ms"]], device)

    def notes(self) -> tuple[str, ...]:
        """Return what the session says of itself; running it can add to that."""
        return tuple(str(note) for note in self.worker.request("notes")["notes"])

    def frame(self, image: str, runs: int) -> dict[str, list[float]]:
        """Take a base64 image to its label map `runs` times; milliseconds per part and in total."""
        reply = self.worker.request(
            "frame",
            image=image,
            runs=runs,
            size_px=self.candidate.size_px,
            postprocess=self.candidate.postprocess,
        )
        return dict(reply["times_ms"])


def open_turn(candidate: Candidate, stack: ExitStack, *, fit: bool = True) -> Turn:
    """Start a worker that lives as long as `stack`, and open the candidate in it.

    Raises:
        InputError: the artifact cannot be opened, or (with `fit`) does not take the candidate's
            size or batch.
        CheckFailedError: the worker died.
    """
    worker = stack.enter_context(WorkerProcess(candidate.name or candidate.source))
    return open_in(worker, candidate, fit=fit)


def open_in(worker: WorkerProcess, candidate: Candidate, *, fit: bool = True) -> Turn:
    """Open the candidate in a worker that is already running."""
    reply = worker.request(
        "open",
        source=candidate.source,
        runtime=candidate.runtime,
        precision=candidate.precision,
        threads=candidate.threads,
    )
    used = replace(
        candidate,
        runtime=str(reply["runtime"]),
        precision=str(reply["precision"]),
        threads=int(reply["threads"]),
    )
    contract = Contract.from_json(reply["contract"])
    shape = (candidate.batch, 3, *contract.size_px)
    turn = Turn(used, worker, contract, shape, float(reply["open_ms"]))
    return turn.at(candidate.size_px, candidate.batch) if fit else turn
