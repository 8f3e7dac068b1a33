"""Cold start and memory, from processes that live for one measurement."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from ..common.progress import track
from ..runtimes.open import load_artifact
from .candidate import Candidate
from .process import WorkerProcess
from .record import ColdStart, Memory
from .turn import Turn, open_in

STEADY_RUNS = 5  # enough for a runtime's memory arena to have grown to its size


def measure_fresh(candidate: Candidate, *, starts: int = 3) -> tuple[ColdStart, Memory]:
    """Start `starts` fresh processes; return the medians of their cold start and memory.

    Each imports the runtime, opens the artifact, makes a first run and a few more. `candidate`
    names a resolved runtime (not "auto"). The import time begins with the process itself.
    """
    pairs = [_fresh(candidate) for _ in range(starts)]
    colds, memories = [cold for cold, _ in pairs], [memory for _, memory in pairs]
    return (
        ColdStart(
            import_ms=median(cold.import_ms for cold in colds),
            open_ms=median(cold.open_ms for cold in colds),
            first_run_ms=median(cold.first_run_ms for cold in colds),
        ),
        Memory(
            peak_mib=median(memory.peak_mib for memory in memories),
            before_mib=median(memory.before_mib for memory in memories),
            file_mib=memories[0].file_mib,
            device_mib=_median_known([memory.device_mib for memory in memories]),
            device_parts_mib=memories[0].device_parts_mib,
            peaks_mib=tuple(memory.peak_mib for memory in memories),
        ),
    )


def measure_all_fresh(
    candidates: Sequence[Candidate], starts: int, *, progress: bool = True
) -> list[tuple[ColdStart, Memory]]:
    """Return `measure_fresh` of every candidate, one after the other."""
    stream = track(candidates, "cold start", len(candidates)) if progress else candidates
    return [measure_fresh(item, starts=starts) for item in stream]


def _fresh(candidate: Candidate) -> tuple[ColdStart, Memory]:
    with WorkerProcess(candidate.name or candidate.source) as worker:
        worker.request("import", runtime=candidate.runtime)
        import_ms = 1e3 * (time.perf_counter() - worker.started)
        turn = open_in(worker, candidate)
        first_ms = turn.run(1)[0]
        memory = _memory_of(turn)
    return ColdStart(import_ms, turn.open_ms, first_ms), memory


def _memory_of(turn: Turn) -> Memory:
    turn.run(STEADY_RUNS)
    reply = turn.worker.request("memory")
    device = {name: float(mib) for name, mib in reply["device_mib"].items()}
    return Memory(
        peak_mib=float(reply["peak_mib"]),
        before_mib=float(reply["before_mib"]),
        file_mib=file_mib(Path(turn.candidate.source)),
        device_mib=device_mib(device),
        device_parts_mib=device,
    )


def device_mib(parts: Mapping[str, float]) -> float | None:
    """Return what a process takes on its device of the parts a session names, None without any.

    What the driver says of the whole process counts where it says it; else the largest of torch's
    peaks, or the sum of what the session itself allocated ("activations" are part of "engine").

    >>> device_mib({"engine": 10.0, "activations": 4.0, "buffers": 5.0})
    15.0
    >>> device_mib({"engine": 10.0, "process": 400.0})
    400.0
    >>> device_mib({"tensors_peak": 3.0, "reserved_peak": 4.0})
    4.0
    """
    if "process" in parts:
        return parts["process"]
    peaks = [mib for name, mib in parts.items() if name.endswith("_peak")]
    if peaks:
        return max(peaks)
    own = [mib for name, mib in parts.items() if name != "activations"]
    return sum(own) if own else None


def _median_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def file_mib(source: Path) -> float:
    """Return what an artifact takes on disk in MiB: external data and a checkpoint's files too."""
    if not source.exists():  # a hub id: the files lie in its cache
        source = load_artifact(str(source)).path
    if source.is_dir():
        return sum(item.stat().st_size for item in source.iterdir() if item.is_file()) / (1 << 20)
    outside = source.with_name(source.name + ".data")
    extra = outside.stat().st_size if outside.is_file() else 0
    return (source.stat().st_size + extra) / (1 << 20)
