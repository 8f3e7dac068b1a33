"""What a device tells of itself reaches the record: times per step, memory, notes, the GPU."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from segship.benchmark.assemble import Setup, base_record, with_times
from segship.benchmark.candidate import Candidate
from segship.benchmark.environment import read_environment
from segship.benchmark.evaluate import evaluate
from segship.benchmark.identity import identify
from segship.benchmark.latency import LatencyRule, measure_latency
from segship.benchmark.memory import measure_fresh
from segship.benchmark.process import WorkerProcess
from segship.benchmark.protocol import label_space
from segship.benchmark.record import Environment
from segship.benchmark.run import benchmark
from segship.benchmark.turn import Turn, open_in
from segship.benchmark.worker import Worker
from segship.data.contract import Contract
from segship.runtimes import gpu_facts
from segship.runtimes.artifact import Artifact, Lineage
from segship.runtimes.gpu_facts import Gpu, read_gpu
from segship.runtimes.onnxruntime_session import OnnxRuntimeSession
from segship.runtimes.session import Array
from segship.tests.benchmark.fakes import FunctionSession

CONTRACT = Contract(classes=("a", "b"), size_px=(8, 8))
GPU = Gpu("NVIDIA T4", "7.5", 15360, "550.54", "12.4", "12.9")


class OnDevice(FunctionSession):
    """A session whose n-th run took n ms on its device, and that learns a note by running."""

    def __init__(self, times: bool = True) -> None:
        super().__init__(lambda pixels: {"segmentation": pixels[:, :2]}, CONTRACT)
        self.times, self.runs = times, 0

    def _run(self, pixels: Array) -> dict[str, Array]:
        self.runs += 1
        self.notes = ("It ran.",)
        return super()._run(pixels)

    def device_times_ms(self) -> dict[str, float] | None:
        if not self.times or not self.runs:
            return None
        return {"h2d": 0.25, "compute": float(self.runs), "d2h": 0.5}

    def device_memory_mib(self) -> dict[str, float] | None:
        return {"engine": 30.0, "activations": 20.0, "buffers": 12.0}


class InProcess:
    """A worker without a process: requests and replies still go through JSON."""

    def __init__(self, session: OnDevice) -> None:
        self.started, self._worker = 0.0, Worker()
        self._worker._session = session

    def request(self, do: str, **arguments: Any) -> dict[str, Any]:
        reply = self._worker.answer(json.dumps({"do": do, **arguments}))
        return dict(json.loads(json.dumps(reply))["ok"])

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _turn(session: OnDevice) -> Turn:
    worker = cast(WorkerProcess, InProcess(session))
    candidate = Candidate("m.engine", "tensorrt", "fp16", threads=1)
    return Turn(candidate, worker, CONTRACT, (1, 3, 8, 8), 1.0)


def _environment(gpu: Gpu | None) -> Environment:
    return Environment("h", "cpu", (), 1, 1, 1, "os", "3.11", "unknown", 0.0, {}, gpu=gpu)


def test_device_times_follow_the_runs_of_the_host() -> None:
    turns = [_turn(OnDevice()), _turn(OnDevice(times=False))]
    rule = LatencyRule(rounds=2, runs=3, minimum_rounds=2, window=1, warmup_runs=2, warmup_s=60)
    with_device, without = measure_latency(turns, rule, progress=False)
    assert without.device is None and len(without.samples.samples_ms) == 6
    assert with_device.device is not None
    # after the warm-up by the host's clock: the first run of each round is apart
    first = int(with_device.device.compute.warmup_ms[0])
    assert with_device.device.compute.warmup_ms == (first, first + 4)
    runs = [first + 1, first + 2, first + 3, first + 5, first + 6, first + 7]
    assert with_device.device.compute.samples_ms == tuple(map(float, runs))
    assert with_device.device.compute.median_ms == first + 4
    assert with_device.device.h2d.median_ms == 0.25 and with_device.device.d2h.median_ms == 0.5
    assert len(with_device.samples.samples_ms) == 6


def test_a_note_learnt_by_running_is_heard() -> None:
    turn = _turn(OnDevice())
    assert turn.notes() == ()
    turn.run(1)
    assert turn.notes() == ("It ran.",)


def test_the_record_holds_times_notes_and_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(source: str) -> Artifact:
        return Artifact(Path(source), "engine", CONTRACT, Lineage(parameters=7), "ab")

    monkeypatch.setattr("segship.benchmark.identity.load_artifact", known)
    turn = _turn(OnDevice())
    rule = LatencyRule(rounds=1, runs=2, minimum_rounds=1, warmup_runs=2)
    latencies = measure_latency([turn], rule, progress=False)
    setup = Setup(
        candidates=(replace(turn.candidate, name="m"),),
        contracts=(CONTRACT,),
        space=label_space((CONTRACT,), None),
        environment=_environment(GPU),
        notes=(turn.notes(),),
    )
    record = with_times(base_record(setup, 0), latencies, [None], rule, ())
    (item,) = record.measurements
    assert item.device_times == latencies[0].device is not None
    assert item.warnings[0] == "It ran." and record.environment.gpu == GPU
    assert (item.kind, item.parameters, item.gmacs) == ("engine", 7, None)
    assert identify(turn.candidate, CONTRACT).warnings == ()


def test_device_memory_is_measured_in_the_fresh_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def opened(_: WorkerProcess, candidate: Candidate) -> Turn:
        return replace(_turn(OnDevice()), candidate=candidate)

    class ImportsNothing(InProcess):
        def __init__(self, _: str) -> None:
            super().__init__(OnDevice())

        def request(self, do: str, **arguments: Any) -> dict[str, Any]:
            return {} if do == "import" else super().request(do, **arguments)

    path = tmp_path / "m.engine"
    path.write_bytes(b"plan")
    monkeypatch.setattr("segship.benchmark.memory.open_in", opened)
    monkeypatch.setattr("segship.benchmark.memory.WorkerProcess", ImportsNothing)
    _, memory = measure_fresh(Candidate(str(path), "tensorrt", "fp16"), starts=2)
    assert memory.device_mib == 42.0  # the activations are part of the engine
    assert memory.device_parts_mib == {"engine": 30.0, "activations": 20.0, "buffers": 12.0}


def test_on_a_cpu_there_is_no_device(dynamic_candidate: Candidate) -> None:
    with ExitStack() as stack:
        worker = stack.enter_context(WorkerProcess("cpu"))
        turn = open_in(worker, dynamic_candidate)
        assert turn.timed(2).device_ms == {} and turn.notes() == ()
        assert worker.request("memory")["device_mib"] == {}


@pytest.fixture
def dynamic_candidate(tiny: Any) -> Candidate:
    """A real model on ONNX Runtime's CPU provider."""
    return cast(Candidate, tiny("dynamic", dynamic=True).candidate)


def test_the_environment_names_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segship.benchmark.environment.read_gpu", lambda: (GPU, ""))
    assert read_environment().gpu == GPU


def test_a_gpu_is_asked_for_only_where_something_looks_like_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu_facts, "gpu_is_likely", lambda: False)
    monkeypatch.setattr("segship.runtimes.gpu_facts.sys.executable", "/does/not/exist")
    assert read_gpu() == (None, "")
    monkeypatch.setattr(gpu_facts, "gpu_is_likely", lambda: True)
    assert read_gpu() == (None, "asking CUDA failed (FileNotFoundError)")


def test_the_child_says_in_one_line_why_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real: a machine with an unusable GPU answers as one without."""
    monkeypatch.setattr(gpu_facts, "gpu_is_likely", lambda: True)
    found, why = read_gpu()
    if found is not None:
        assert found.sm and why == ""
        return
    assert why.startswith("Expected ") and "\n" not in why


def test_the_child_prints_what_cuda_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_facts, "ask_cuda", lambda: GPU)
    gpu_facts.main()
    told = json.loads(capsys.readouterr().out)
    assert Gpu(**told["gpu"]) == GPU


def test_each_run_has_its_device_times() -> None:
    session = OnDevice()
    assert len(_turn(session).timed(3).device_ms["compute"]) == 3
    assert session.shapes == [(1, 3, 8, 8)] * 3


def test_notes_reach_the_records_of_benchmark_and_evaluate(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = tiny().candidate
    monkeypatch.setattr(Turn, "notes", lambda _: ("It said so.",))
    options: dict[str, Any] = {"rounds": 1, "runs": 1, "budget_s": 0.0, "starts": 0}
    measured = benchmark([candidate], latency_only=True, progress=False, **options)
    assert "It said so." in measured.measurements[0].warnings
    monkeypatch.setattr(OnnxRuntimeSession, "notes", ("It wrote so.",))
    scored = evaluate([candidate], "scenes:2", examples=0, progress=False)
    assert "It wrote so." in scored.measurements[0].warnings
