"""What fewer bits cost and bring, as it stands in a record: per part, per trial, per step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PartPrice:
    """What is lost and gained where one SegFormer part alone is INT8.

    `mse` is of the logits, in their unit squared; `kl` the mean divergence of the class
    probabilities from the float ones, in nats per pixel; `disagreement` the share of pixels with
    another label; `miou_drop` float − quantized on the labelled images. What does not exist (no
    classes, no labels, no clock) is None. `saved_ms` is float − quantized, medians of one
    interleaved run; `doubtful` says that it lies within their noise.
    """

    part: str
    nodes: int
    mse: float | None
    kl: float | None
    disagreement: float | None
    miou_drop: float | None
    latency_ms: float | None = None
    saved_ms: float | None = None
    doubtful: bool = False


@dataclass(frozen=True)
class Sensitivity:
    """The price of every part of one float artifact, parts in forward order.

    Loss and time are against the float file, both files in `precision` beside what is INT8, on
    `runtime` with `threads` threads.
    """

    artifact: str
    data: str
    images: int
    runtime: str
    precision: str
    threads: int
    method: str  # how INT8 was made, in words
    latency_rule: str
    rows: tuple[PartPrice, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """One artifact the search built and measured.

    `parts` are those in INT8; `miou_drop` is against the float graph in FP32, a fraction of 1;
    `speedup` the float artifact's median time / this one's, of one interleaved run, where the
    float one computes in the best precision of the target. `kept` says that the drop is within
    the budget.
    """

    name: str
    parts: tuple[str, ...]
    miou: float
    miou_drop: float
    agreement: float
    latency_ms: float
    float_ms: float  # of the same run
    speedup: float
    doubtful: bool
    kept: bool
    warnings: tuple[str, ...] = ()  # what the machine did while it was timed


@dataclass(frozen=True)
class Search:
    """A search for the fastest artifact within a budget, every trial in the order it was made."""

    evaluation: str
    max_miou_drop: float  # a fraction of 1
    runtime: str
    precision: str
    threads: int
    trials: tuple[Trial, ...]
    chosen: str
    reason: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LedgerStep:
    """One step from the checkpoint to the artifact, by the measurement that holds it.

    `drop` is the mIoU of the step before − this one's, a fraction of 1; 0 for the first.
    """

    step: str
    measurement: str
    miou: float
    drop: float
