"""A candidate opened in its own live worker: what takes a turn in an interleaved round."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

from ..data.contract import Contract, OutputKind
from .candidate import Candidate
from .process import WorkerProcess
from .worker import IN_GRAPH


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

    def run(self, runs: int, seed: int = 0) -> list[float]:
        """Run the session `runs` times on pixels of `seed`; return milliseconds."""
        reply = self.worker.request(
            "run", runs=runs, batch=self.input_shape[0], size_px=self.input_shape[2:], seed=seed
        )
        return [float(value) for value in reply["times_ms"]]

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


def open_turn(candidate: Candidate, stack: ExitStack) -> Turn:
    """Start a worker that lives as long as `stack`, and open the candidate in it.

    Raises:
        InputError: the artifact cannot be opened, or does not take the candidate's size or batch.
        MissingDependencyError: its runtime is not installed.
    """
    worker = stack.enter_context(WorkerProcess(candidate.name or candidate.source))
    return open_in(worker, candidate)


def open_in(worker: WorkerProcess, candidate: Candidate) -> Turn:
    """Open the candidate in a worker that is already running."""
    reply = worker.request(
        "open",
        source=candidate.source,
        runtime=candidate.runtime,
        precision=candidate.precision,
        threads=candidate.threads,
        batch=candidate.batch,
        size_px=candidate.size_px,
    )
    used = replace(
        candidate,
        runtime=str(reply["runtime"]),
        precision=str(reply["precision"]),
        threads=int(reply["threads"]),
    )
    contract = Contract.from_json(reply["contract"])
    shape = (candidate.batch, 3, *contract.size_px)
    return Turn(used, worker, contract, shape, float(reply["open_ms"]))
