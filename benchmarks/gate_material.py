"""Material for the study of the gate: real numbers, and records drawn anew from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segship.benchmark.confusion import INTERSECTION, TRUTH, iou, miou
from segship.benchmark.image_counts import ImageCounts, pack_counts, unpack_counts
from segship.benchmark.record import (
    Accuracy,
    Environment,
    Measurement,
    Memory,
    Protocol,
    Record,
)
from segship.benchmark.samples import summarise
from segship.common.errors import InputError

ROUND = 5  # samples
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """Real numbers: peaks (P,) MiB, counts (2,N,K,3) per data set, times (2,N) ms of every run.

    A run is "busy" where its record warned that other processes used the machine, else "idle".
    """

    times_ms: dict[str, list[Floats]]
    peaks_mib: Floats
    counts: dict[str, Floats]


@dataclass(frozen=True)
class Worse:
    """What is injected: factors of time and memory, points of mIoU; `swap` mixes two models."""

    time: float = 1.0
    memory: float = 1.0
    points: float = 0.0
    swap: bool = False


def load_material(path: Path) -> Material:
    """Read what `gate_study.py --collect` wrote."""
    values = json.loads(path.read_text(encoding="utf-8"))
    counts = {
        name: np.stack([unpack_counts(ImageCounts(**packed)) for packed in pair])
        for name, pair in values["counts"].items()
    }
    times: dict[str, list[Floats]] = {"busy": [], "idle": []}
    for run in values["runs"]:
        busy = any("other processes used" in line for line in run["warnings"])
        times["busy" if busy else "idle"].append(np.array(run["samples_ms"]))
    peaks = np.array([run["peaks_mib"] for run in values["runs"]]).ravel()
    return Material(times, peaks, counts)


def injected(counts: Floats, points: float) -> Floats:
    """Return counts (2,N,K,3) whose second model is that many points of mIoU below the first."""
    base, worse = counts

    def at(share: float) -> Floats:
        return np.asarray(np.maximum(np.rint(base + share * (worse - base)), 0))

    def lost(share: float) -> float:
        return float(100 * (miou(base.sum(axis=0)) - miou(at(share).sum(axis=0))))

    low, high = 0.0, 1.0
    if lost(high) < points:
        raise InputError(f"The worse model loses {lost(high):.2f} points alone.")
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if lost(middle) > points else (middle, high)
    return np.stack([base, at(high)])


def draw_pair(
    material: Material, times: Floats, counts: Floats, worse: Worse, rng: np.random.Generator
) -> Record:
    """Return one record of baseline and candidate; times (2,N) are of both sides of one run."""
    rounds = times.shape[1] // ROUND
    chosen = rng.integers(0, rounds, rounds)
    sides = times[rng.permutation(2), : rounds * ROUND].reshape(2, rounds, ROUND)[:, chosen]
    samples = sides.reshape(2, -1) * np.array([[1.0], [worse.time]])
    peaks = rng.choice(material.peaks_mib, (2, 3)) * np.array([[1.0], [worse.memory]])
    images = counts[:, rng.integers(0, counts.shape[1], counts.shape[1])]
    if worse.swap:
        swapped = np.flatnonzero(rng.random(images.shape[1]) < 0.5)
        images[:, swapped] = images[::-1, swapped]
    return made_record(samples, peaks, images)


def made_record(samples_ms: Floats, peaks_mib: Floats, counts: Floats) -> Record:
    """Return a record of "baseline" and "candidate": times (2,N), peaks (2,P), counts (2,I,K,3)."""
    items = [
        Measurement(
            name=name,
            path=f"{name}.onnx",
            sha256=name,
            kind="onnx",
            runtime="onnxruntime",
            precision="fp32",
            threads=1,
            batch=1,
            input_shape=(1, 3, 64, 96),
            parameters=1,
            gmacs=None,
            contract={},
            lineage={},
            accuracy=_accuracy(counts[index]),
            latency=summarise(samples_ms[index].tolist()),
            memory=Memory(float(np.median(peaks_mib[index])), 1.0, 1.0,
                          peaks_mib=tuple(peaks_mib[index].tolist())),
        )
        for index, name in enumerate(("baseline", "candidate"))
    ]  # fmt: skip  # one row per fact
    return Record(
        created="",
        command="",
        segship_version="",
        environment=Environment("host", "", (), 1, 1, 1, "", "", "", 0.0, {}),
        protocol=Protocol("resampled", counts.shape[1], "resampled", "", 1, 1, "", ""),
        baseline="baseline",
        measurements=tuple(items),
        digest="resampled",
    )


def _accuracy(counts: Floats) -> Accuracy:
    """Return an accuracy with those counts (I,K,3); its confusion matrix has the right margins."""
    total = counts.sum(axis=0)
    hits, truth = total[:, INTERSECTION].astype(int), total[:, TRUTH].astype(int)
    confusion = np.diag(hits)
    confusion[:, 0] += truth - hits
    confusion[0, 0] = hits[0]
    if len(hits) > 1:
        confusion[0, 1] += truth[0] - hits[0]
    scores = iou(total)
    return Accuracy(
        images=len(counts),
        miou=float(miou(total)),
        iou=tuple(None if np.isnan(it) else float(it) for it in scores),
        pixel_accuracy=float(hits.sum() / truth.sum()),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        counts=pack_counts(list(counts)),
    )
