"""The headline: which candidate is named first, and the sentence about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..benchmark.record import Drop, Measurement, Record, Samples
from .format import depth_value, mebibytes, milliseconds, percent, points, ratio
from .further_columns import depth_text

HEADLINE_DROP = 0.01  # mIoU a candidate may lose and still be the one the headline names


@dataclass(frozen=True)
class Part:
    """A stretch of the sentence; `strong` marks the numbers that matter."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class KeyFigure:
    """One large number under the headline with what it means and where it comes from."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Verdict:
    """The headline of a record; `candidate` is None where there is only a baseline."""

    baseline: Measurement
    candidate: Measurement | None
    sentence: tuple[Part, ...]
    rule: str
    figures: tuple[KeyFigure, ...]

    @property
    def text(self) -> str:
        """Return the sentence without emphasis."""
        return "".join(part.text for part in self.sentence)


def judge(record: Record) -> Verdict:
    """Return the headline of `record`.

    Named is the fastest candidate (per frame, or per inference where no frame was timed) that
    loses at most `HEADLINE_DROP`; where none does, the fastest; without times, the most accurate.

    Raises:
        InputError: the record's baseline is not among its measurements.
    """
    baseline = record.measurement(record.baseline)
    candidates = [item for item in record.measurements if item.name != baseline.name]
    if not candidates:
        return Verdict(baseline, None, tuple(_alone(baseline)), "", tuple(_figures(baseline, None)))
    careful = [item for item in candidates if _within(item, baseline)]
    best = max(careful or candidates, key=lambda item: _rank(item, candidates))
    return Verdict(
        baseline,
        best,
        tuple(_compared(best, baseline)),
        _rule(candidates, careful),
        tuple(_figures(best, baseline)),
    )


def _within(item: Measurement, baseline: Measurement) -> bool:
    """Say whether `item` keeps the accuracy as far as the baseline's was measured."""
    if baseline.accuracy is None:
        return True
    drop = item.accuracy.drop if item.accuracy else None
    return drop is not None and drop.miou <= HEADLINE_DROP


def _rank(item: Measurement, candidates: list[Measurement]) -> tuple[float, float]:
    by_frame = any(other.frame_speedup for other in candidates)
    speed = item.frame_speedup if by_frame else item.speedup
    return (speed or 0.0, item.accuracy.miou if item.accuracy else 0.0)


def _rule(candidates: list[Measurement], careful: list[Measurement]) -> str:
    if len(candidates) == 1:
        return ""
    timed = any(item.speedup or item.frame_speedup for item in candidates)
    which = "fastest" if timed else "most accurate"
    if not any(item.accuracy for item in candidates):
        return f"Named above: the {which} of {len(candidates)} candidates."
    limit = f"{HEADLINE_DROP * 100:.0f} point of mIoU"
    if not careful:
        return f"No candidate stays within {limit}; named above is the {which}."
    if len(careful) == len(candidates):
        return f"Named above: the {which} of {len(careful)} candidates, all within {limit}."
    return (
        f"Named above: the {which} of the {len(careful)} candidates (of {len(candidates)}) "
        f"that lose at most {limit}."
    )


def _alone(item: Measurement) -> Iterator[Part]:
    yield Part(f"{item.name} ")
    clauses = []
    if item.latency:
        clauses.append(("takes ", f"{milliseconds(item.latency.median_ms)} ms", " per inference"))
    if item.frame:
        clauses.append(("takes ", f"{milliseconds(item.frame.total.median_ms)} ms", " per frame"))
    if item.accuracy:
        clauses.append(("reaches ", f"{percent(item.accuracy.miou)} %", " mIoU"))
    if item.depth:
        clauses.append(("has an AbsRel of ", depth_value(item.depth.abs_rel), " in depth"))
    for index, (verb, number, what) in enumerate(clauses):
        yield Part((" and " if index else "") + verb)
        yield Part(number, strong=True)
        yield Part(what)
    yield Part("; no candidate was measured." if clauses else "was recorded without measurements.")


def _compared(best: Measurement, baseline: Measurement) -> Iterator[Part]:
    yield Part(f"{best.name} ")
    speeds = [
        (speed, unit)
        for speed, unit in ((best.speedup, "inference"), (best.frame_speedup, "frame"))
        if speed is not None
    ]
    for index, (speed, unit) in enumerate(speeds):
        yield Part(" and " if index else "runs ")
        yield Part(_speed(speed), strong=True)
        yield Part(f" per {unit}")
    if speeds:
        yield Part(f" than {baseline.name}, ")
        yield from _accuracy_clause(best, joined=True)
    else:
        yield from _accuracy_clause(best, joined=False)
        yield Part(f" against {baseline.name}")
    yield Part(".")


def _speed(value: float) -> str:
    return f"{ratio(value)} faster" if value >= 1 else f"{ratio(1 / value)} slower"


def _accuracy_clause(item: Measurement, *, joined: bool) -> Iterator[Part]:
    accuracy = item.accuracy
    if accuracy is None and item.depth:
        yield Part("with an " if joined else "has an ")
        yield Part(f"AbsRel of {depth_text(item.depth, 'abs_rel', share=False)}", strong=True)
        yield Part(" in depth")
        return
    if accuracy is None:
        yield Part("accuracy not measured" if joined else "was not measured")
        return
    drop = accuracy.drop
    if drop is None:
        yield Part("at " if joined else "reaches ")
        yield Part(f"{percent(accuracy.miou)} % mIoU", strong=True)
    elif points(drop.low) == points(drop.high) == points(0.0):
        yield Part("at " if joined else "reaches ")
        yield Part("the same mIoU", strong=True)
        yield Part(f" ({percent(accuracy.miou)} %)")
    elif drop.low <= 0 <= drop.high:
        yield Part("with " if joined else "shows ")
        yield Part("no significant loss", strong=True)
        yield Part(f" of mIoU ({points(drop.miou)} points, {_interval(drop)})")
    else:
        yield Part(("and " if joined else "") + ("loses " if drop.miou > 0 else "gains "))
        yield Part(f"{points(abs(drop.miou)).lstrip('+')} points", strong=True)
        yield Part(f" of mIoU (drop {_interval(drop)})")


def _interval(drop: Drop) -> str:
    confidence = f"{drop.confidence * 100:g} % interval"
    return f"{confidence} {points(drop.low)} to {points(drop.high)}"


def _figures(item: Measurement, baseline: Measurement | None) -> Iterator[KeyFigure]:
    """Yield the large numbers: inference, frame, mIoU, memory, each where it was measured."""
    against = baseline or item
    if item.latency:
        yield _time_figure("per inference", item.speedup, item.latency, against.latency)
    if item.frame:
        before = against.frame.total if against.frame else None
        yield _time_figure("per frame", item.frame_speedup, item.frame.total, before)
    if item.accuracy:
        yield _accuracy_figure(item.accuracy.drop, item.accuracy.miou, against)
    if item.depth:
        reference = against.depth if baseline else None
        detail = (
            f"baseline {depth_value(reference.abs_rel)}" if reference else "of this measurement"
        )
        yield KeyFigure("AbsRel of depth", depth_value(item.depth.abs_rel), detail)
    if item.memory:
        value = f"{mebibytes(item.memory.peak_mib)} MiB"
        detail = "fresh process"
        if baseline and against.memory:
            detail = f"baseline {mebibytes(against.memory.peak_mib)} MiB"
        yield KeyFigure("peak memory", value, detail)


def _time_figure(
    label: str, speedup: float | None, own: Samples, baseline: Samples | None
) -> KeyFigure:
    median = f"{milliseconds(own.median_ms)} ms"
    if speedup is None or baseline is None or baseline is own:
        return KeyFigure(label, median, "median")
    change = f"{milliseconds(baseline.median_ms)} → {median}, medians"
    return KeyFigure(label, ratio(speedup), change)


def _accuracy_figure(drop: Drop | None, miou: float, baseline: Measurement) -> KeyFigure:
    if drop is None:
        return KeyFigure("mIoU", f"{percent(miou)} %", "of this measurement")
    before = baseline.accuracy.miou if baseline.accuracy else None
    detail = f"{percent(before)} → {percent(miou)} %, {_interval(drop)}"
    return KeyFigure("points of mIoU lost", points(drop.miou), detail)
