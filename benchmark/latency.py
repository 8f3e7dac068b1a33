"""Interleaved latency: every worker takes its turn in every round, so that a machine that slows
down slows all of them, and a speed-up is a ratio within one run.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..common.progress import track
from .device_steps import DeviceSteps
from .record import DeviceTimes, Frame, Samples
from .samples import is_steady, sample_warnings, summarise
from .turn import Timed, Turn
from .worker import PARTS


@dataclass(frozen=True)
class LatencyRule:
    """How often to run; 20 rounds of 5 give the 100 samples a 99th percentile wants.

    Each turn begins with one run that is not a sample: another process had the caches. `budget_s`
    bounds the sampling of all candidates together, and half of it that of their frames; but
    `minimum_rounds` are always made.
    """

    rounds: int = 20
    runs: int = 5
    frame_rounds: int = 10
    frame_runs: int = 3
    budget_s: float = 40.0
    minimum_rounds: int = 4
    window: int = 5
    tolerance: float = 0.03
    warmup_runs: int = 60
    warmup_s: float = 10.0
    tail: bool = True  # somebody will read the 99th percentile: warn where samples are too few
    seed: int = 0

    def words(self) -> str:
        """Return the rule as the sentence a report prints."""
        return (
            f"candidates interleaved, each in its own process; warm-up until the medians of two "
            f"windows of {self.window} runs differ by less than {100 * self.tolerance:g} % (at "
            f"most {self.warmup_runs} runs or {self.warmup_s:g} s); up to {self.rounds} rounds of "
            f"{self.runs} runs within {self.budget_s:g} s, the first run of a turn apart; "
            "session.run alone on seeded synthetic pixels; every sample kept"
        )


class Runner(Protocol):
    """What takes a turn: a `Turn`, or a session of this process."""

    def run(self, runs: int, seed: int = 0) -> list[float]:
        """Run `runs` times on pixels of `seed`; return milliseconds."""


@dataclass(frozen=True)
class Latency:
    """One candidate's times and what they say about themselves; `device` where it has a clock."""

    samples: Samples
    warnings: tuple[str, ...]
    device: DeviceTimes | None = None


def measure_latency(
    turns: Sequence[Runner], rule: LatencyRule, *, progress: bool = True
) -> list[Latency]:
    """Warm every worker up, then sample all of them in interleaved rounds."""
    warmups = [warm_up(turn, rule) for turn in turns]
    samples: list[list[float]] = [[] for _ in turns]
    devices = [DeviceSteps() for _ in turns]
    for _ in _rounds(rule.rounds, "latency", rule, rule.budget_s, progress):
        for index, turn in enumerate(turns):
            timed = _timed(turn, rule.runs + 1, rule.seed)
            first, *rest = timed.times_ms
            warmups[index].append(first)
            samples[index].extend(rest)
            devices[index].add(timed.device_ms)
    rows = zip(samples, warmups, devices, strict=True)
    return [_latency(rule, *row) for row in rows]


def _timed(turn: Runner, runs: int, seed: int) -> Timed:
    """Run a turn; only one in a worker tells its device's times."""
    return turn.timed(runs, seed) if isinstance(turn, Turn) else Timed(turn.run(runs, seed), {})


def warm_up(turn: Runner, rule: LatencyRule) -> list[float]:
    """Run until steady, out of runs or out of time; return every warm-up time in ms."""
    times: list[float] = []
    end = time.perf_counter() + rule.warmup_s
    while len(times) < rule.warmup_runs and time.perf_counter() < end:
        times += turn.run(rule.window, rule.seed)
        if is_steady(times, rule.window, rule.tolerance):
            break
    return times


def measure_frames(
    turns: Sequence[Turn],
    image: bytes,
    image_name: str,
    rule: LatencyRule,
    *,
    progress: bool = True,
) -> list[Frame | None]:
    """Time whole frames, interleaved as latencies are; `image` is an encoded file.

    The first frame of every turn is kept apart as warm-up. A candidate measured in batches has
    no single frame to time: None.
    """
    encoded = base64.b64encode(image).decode()
    times = {index: _PartTimes() for index, turn in enumerate(turns) if turn.candidate.batch == 1}
    for _ in _rounds(rule.frame_rounds, "frames", rule, rule.budget_s / 2, progress):
        for index, parts in times.items():
            parts.add(turns[index].frame(encoded, rule.frame_runs + 1))
    return [
        times[index].frame(image_name, turn.postprocess) if index in times else None
        for index, turn in enumerate(turns)
    ]


class _PartTimes:
    """The samples of a frame's parts, the first of every turn apart."""

    def __init__(self) -> None:
        self.samples: dict[str, list[float]] = {name: [] for name in (*PARTS, "total")}
        self.warmup: dict[str, list[float]] = {name: [] for name in (*PARTS, "total")}

    def add(self, turn: dict[str, list[float]]) -> None:
        """Add the times of one turn, in ms per part."""
        for name, (first, *rest) in turn.items():
            self.warmup[name].append(first)
            self.samples[name].extend(rest)

    def frame(self, image: str, postprocess: str) -> Frame:
        """Return the summary of every part."""
        parts = {name: summarise(self.samples[name], self.warmup[name]) for name in self.samples}
        return Frame(
            image=image,
            postprocess=postprocess,
            decode=parts["decode"],
            preprocess=parts["preprocess"],
            inference=parts["inference"],
            postprocess_time=parts["postprocess"],
            total=parts["total"],
        )


def _latency(
    rule: LatencyRule, samples: list[float], warmup: list[float], device: DeviceSteps
) -> Latency:
    summary = summarise(samples, warmup)
    # The runs that open each round are warm-up too, but say nothing about becoming steady.
    rounds = len(samples) // rule.runs
    steady = is_steady(warmup[: len(warmup) - rounds], rule.window, rule.tolerance)
    warnings = sample_warnings("Latency", summary, steady=steady, tail=rule.tail)
    return Latency(summary, warnings, device.times())


def _rounds(
    count: int, label: str, rule: LatencyRule, budget_s: float, progress: bool
) -> Iterable[int]:
    """Yield round numbers until `count` or, after the minimum, the time budget is used up."""
    end = time.perf_counter() + budget_s
    numbers = range(count)
    for number in track(numbers, label, count) if progress else numbers:
        if number >= rule.minimum_rounds and time.perf_counter() > end:
            return
        yield number
