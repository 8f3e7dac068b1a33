"""The whole benchmark and the sweep on tiny real models, with real workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from segship.benchmark import latency as latency_module
from segship.benchmark.candidate import Candidate
from segship.benchmark.latency import LatencyRule, measure_latency
from segship.benchmark.record import load_record, save_record
from segship.benchmark.run import benchmark
from segship.benchmark.sweep import CELL_RULE, save_sweep, sweep
from segship.common.errors import CheckFailedError, InputError

Tiny = Callable[..., Any]


def test_benchmark_fills_every_part_of_the_record(tiny: Tiny, tmp_path: Path) -> None:
    plain, other = tiny(), tiny("other", seed=1)
    record = benchmark(
        [other.candidate],
        "scenes:3",
        baseline=f"{plain.path}@onnxruntime",
        threads=1,
        rounds=4,
        runs=5,
        starts=1,
        progress=False,
    )
    assert [item.name for item in record.measurements] == [
        "plain · onnxruntime fp32",
        "other · onnxruntime fp32",
    ]
    assert record.baseline == "plain · onnxruntime fp32"
    for item in record.measurements:
        assert item.accuracy and item.latency and item.frame and item.memory and item.cold_start
        assert len(item.latency.samples_ms) == 20 and len(item.latency.warmup_ms) >= 4
        assert item.frame.postprocess == "sparse" and item.frame.image == "val-00000"
        assert item.frame.inference.median_ms <= item.frame.total.median_ms
        assert item.memory.peak_mib > item.memory.before_mib > 5
        assert item.memory.file_mib == pytest.approx(plain.path.stat().st_size / 2**20, rel=0.1)
        assert item.cold_start.import_ms > 0 and item.cold_start.first_run_ms > 0
        assert (item.threads, item.batch, item.input_shape) == (1, 1, (1, 3, 64, 96))
        assert any("p99" in warning for warning in item.warnings)  # 20 samples are too few for it
    base, second = record.measurements
    assert base.speedup == base.frame_speedup == 1.0
    assert base.latency and second.latency
    assert second.speedup == base.latency.median_ms / second.latency.median_ms
    assert "interleaved" in record.protocol.latency_rule
    assert record.protocol.data_sha256 and record.protocol.threads == 1
    save_record(record, tmp_path / "r.json")
    assert load_record(tmp_path / "r.json") == record
    assert not worker_children()


def test_parts_can_be_left_out(tiny: Tiny) -> None:
    timed = benchmark(
        [tiny().candidate], rounds=4, runs=1, starts=0, latency_only=True, progress=False
    ).measurements[0]
    assert timed.latency and not (timed.frame or timed.accuracy or timed.memory)
    scored = benchmark([tiny().candidate], "scenes:1", accuracy_only=True, progress=False)
    assert scored.measurements[0].accuracy and not scored.measurements[0].latency
    with pytest.raises(InputError, match="not both"):
        benchmark([tiny().candidate], "scenes:1", accuracy_only=True, latency_only=True)


def test_batched_candidates_have_latency_and_no_frame(tiny: Tiny) -> None:
    candidate = replace(tiny("dynamic", dynamic=True).candidate, batch=2, size_px=(32, 64))
    record = benchmark([candidate], "scenes:1", rounds=4, runs=1, starts=0, progress=False)
    item = record.measurements[0]
    assert item.input_shape == (2, 3, 32, 64) and item.latency and item.accuracy
    assert item.frame is None


def test_everything_wrong_is_said_before_anything_is_measured(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measured(*_: object, **__: object) -> None:
        raise AssertionError("measuring began")

    monkeypatch.setattr("segship.benchmark.run.measure_latency", measured)
    good = tiny().candidate
    for candidates, data, said in (
        ([good, Candidate(str(tmp_path / "gone.onnx"))], "scenes:1", "gone"),
        ([good, replace(good, batch=3)], "scenes:1", "takes batch 3"),
        ([good], "scenes:none", "scenes:N"),
        ([good], f"camvid:{tmp_path / 'gone'}@val", "gone"),
    ):
        with pytest.raises(InputError, match=said):
            benchmark(candidates, data, progress=False)
    with pytest.raises(InputError, match="an image file"):
        benchmark([good], "scenes:1", frame_image=tmp_path / "gone.jpg", progress=False)
    assert not worker_children()


def test_an_interrupt_while_measuring_leaves_no_worker(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def interrupted(*_: object, **__: object) -> None:
        seen.extend(worker_children())
        raise KeyboardInterrupt

    monkeypatch.setattr("segship.benchmark.run.measure_latency", interrupted)
    with pytest.raises(KeyboardInterrupt):
        benchmark([tiny().candidate], "scenes:1", progress=False)
    assert len(seen) == 1 and not worker_children()


class _Clocked:
    """Stands in for a worker with times chosen by the test; records the order of turns."""

    def __init__(self, name: str, times: list[float], log: list[str]) -> None:
        self.name, self.times, self.log = name, times, log

    def run(self, runs: int, seed: int = 0) -> list[float]:
        assert seed == 0
        self.log.append(self.name)
        return [self.times.pop(0) for _ in range(runs)]


def test_rounds_interleave_and_settling_runs_are_no_samples() -> None:
    rule = LatencyRule(rounds=4, runs=2, window=2, warmup_runs=8)
    log: list[str] = []
    steady = [5.0, 5.0, 5.0, 5.0] + [50.0, 5.0, 5.0] * 4
    moving = [8.0, 8.0, 4.0, 4.0, 2.0, 2.0, 1.0, 1.0] + [50.0, 1.0, 1.0] * 4
    turns = [_Clocked("a", steady, log), _Clocked("b", moving, log)]
    first, second = measure_latency(turns, rule, progress=False)
    assert "".join(log) == "aa" + "bbbb" + "ab" * 4
    assert set(first.samples.samples_ms) == {5.0} and set(second.samples.samples_ms) == {1.0}
    assert first.samples.warmup_ms[-4:] == (50.0,) * 4
    assert not any("steady" in warning for warning in first.warnings)
    assert any("steady" in warning for warning in second.warnings)


def test_the_time_budget_ends_rounds_after_the_minimum() -> None:
    rule = LatencyRule(rounds=50, runs=1, window=1, budget_s=0.0, minimum_rounds=3)
    turn = _Clocked("a", [1.0] * 500, [])
    (result,) = measure_latency([turn], rule, progress=False)
    assert len(result.samples.samples_ms) == 3
    assert any("has 3 samples" in warning for warning in result.warnings)


def test_sweep_measures_every_combination_and_refuses_by_row(tiny: Tiny, tmp_path: Path) -> None:
    result = sweep(
        [tiny("dynamic", dynamic=True).candidate, tiny().candidate],
        sizes=[(64, 96), (96, 128)],
        batches=[1, 2],
        threads=[1],
        rule=LatencyRule(rounds=4, runs=1, window=1, warmup_runs=2),
        progress=False,
    )
    assert len(result.rows) == 8
    assert CELL_RULE.rounds * CELL_RULE.runs >= 20  # a median's worth by default
    cells = {(row.name, row.size_px, row.batch): row for row in result.rows}
    names = ["dynamic · onnxruntime fp32", "plain · onnxruntime fp32"]
    for size in ((64, 96), (96, 128)):
        for batch in (1, 2):
            free = cells[names[0], size, batch]
            assert free.latency and len(free.latency.samples_ms) == 4 and free.speedup == 1.0
            assert free.images_per_s == 1e3 * batch / free.latency.median_ms
            static = cells[names[1], size, batch]
            fits = (size, batch) == ((64, 96), 1)
            assert bool(static.latency) is fits and bool(static.refused) is not fits
    assert "--dynamic" in cells[names[1], (96, 128), 1].refused
    save_sweep(result, tmp_path / "s.json")
    assert len(json.loads((tmp_path / "s.json").read_text())["rows"]) == 8
    assert not worker_children()


def test_sweep_refuses_impossible_axes(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="batches of at least 1, but got 0"):
        sweep([tiny().candidate], batches=[0])


def test_a_worker_that_dies_while_measuring_is_one_clear_error(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = latency_module.warm_up

    def killed(turn: Any, rule: LatencyRule) -> list[float]:
        psutil.Process(turn.worker.pid).kill()
        return real(turn, rule)

    monkeypatch.setattr(latency_module, "warm_up", killed)
    with pytest.raises(CheckFailedError, match="exit code -9"):
        benchmark([tiny().candidate], latency_only=True, starts=0, progress=False)
    assert not worker_children()


def worker_children() -> list[int]:
    """Return the process ids of workers below this process."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "segship.benchmark.worker" in child.cmdline():
                found.append(child.pid)
        except psutil.Error:
            continue
    return found
