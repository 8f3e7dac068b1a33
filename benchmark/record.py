"""A record: an immutable measurement with its raw samples, protocol and environment.

Everything a report or a gate needs is in here; nothing is computed later but formatting.
Times are milliseconds, memory is MiB, every IoU is a fraction of 1, drops are
baseline − candidate (positive = the candidate lost).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.files import existing_path, write_text
from ..runtimes.gpu_facts import Gpu
from .image_counts import ImageCounts
from .integrity import OtherSchemaError, digest_of, refuse_edited
from .price import LedgerStep, Search, Sensitivity
from .robustness import Boundary, Corrupted
from .times import DeviceTimes as DeviceTimes  # part of a record: read from here
from .times import Samples as Samples

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Environment:
    """The host a record belongs to; records of different `host_id` never merge or gate."""

    host_id: str
    cpu: str
    cpu_flags: tuple[str, ...]
    cores_physical: int
    cores_logical: int
    memory_mib: int
    os: str
    python: str
    governor: str
    load_average: float
    libraries: dict[str, str]
    git_commit: str = ""
    gpu: Gpu | None = None  # None where there is none, and in records of before


@dataclass(frozen=True)
class Protocol:
    """How the numbers were made; printed beside every one of them."""

    data: str
    images: int
    data_sha256: str
    evaluation: str  # e.g. "whole image, stretch to 512x512, logits bilinear to label size"
    batch: int
    threads: int
    latency_rule: str  # warm-up and sampling rule in words
    bootstrap: str
    seed: int = 0


@dataclass(frozen=True)
class Frame:
    """One camera frame, file in to label map at the image's size out, split in four parts."""

    image: str
    postprocess: str  # "sparse", "dense-torch", "gpu", "in-graph"
    decode: Samples
    preprocess: Samples
    inference: Samples
    postprocess_time: Samples
    total: Samples


@dataclass(frozen=True)
class Drop:
    """Baseline − candidate in mIoU with a paired bootstrap interval over images."""

    miou: float
    low: float
    high: float
    confidence: float
    resamples: int


@dataclass(frozen=True)
class Accuracy:
    """Data-set-level accuracy; `iou` is None for a class absent from truth and prediction.

    Means skip those classes and `excluded` ones. `levels` holds the mIoU by other definitions
    ("per image", "per batch of 8", …); `class_accuracy` (recall) and `f1` are per class.
    """

    images: int
    miou: float
    iou: tuple[float | None, ...]
    pixel_accuracy: float
    confusion: tuple[tuple[int, ...], ...]  # [truth][prediction], pixels
    drop: Drop | None = None
    pixel_agreement: float | None = None  # with the baseline, over all scored pixels
    iou_drop: tuple[float | None, ...] = ()
    excluded: tuple[int, ...] = ()  # class numbers left out of every mean
    levels: dict[str, float | None] = field(default_factory=dict)
    class_accuracy: tuple[float | None, ...] = ()
    mean_accuracy: float | None = None
    f1: tuple[float | None, ...] = ()
    mean_f1: float | None = None
    counts: ImageCounts | None = None  # per image; None in records of before
    boundary: Boundary | None = None  # where it was asked for


@dataclass(frozen=True)
class DepthAccuracy:
    """Depth over all valid pixels of the data set (truth finite and above 0), in its unit.

    abs_rel is mean(|p − g| / g); rmse_log and the deltas raise predictions below 0.001 to it
    (`clamped_pixels` of them). `change` is candidate − baseline per metric, {} for the baseline.
    """

    pixels: int
    abs_rel: float
    mae: float
    rmse: float
    rmse_log: float
    delta1: float  # share of pixels with max(p/g, g/p) < 1.25
    delta2: float  # < 1.25²
    delta3: float  # < 1.25³
    clamped_pixels: int = 0
    change: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Memory:
    """Memory of a fresh process that opened the artifact and ran it.

    `device_mib` is what it took on its GPU, None without one; `device_parts_mib` says what for.
    """

    peak_mib: float
    before_mib: float  # the same process just before opening the artifact
    file_mib: float
    device_mib: float | None = None
    device_parts_mib: dict[str, float] = field(default_factory=dict)
    peaks_mib: tuple[float, ...] = ()  # of every fresh process; peak_mib is their median


@dataclass(frozen=True)
class ColdStart:
    """What the first frame costs: process start to first result, in milliseconds."""

    import_ms: float
    open_ms: float
    first_run_ms: float


@dataclass(frozen=True)
class Measurement:
    """All that was measured of one artifact on one runtime; absent parts are None."""

    name: str
    path: str
    sha256: str
    kind: str
    runtime: str
    precision: str
    threads: int
    batch: int
    input_shape: tuple[int, ...]
    parameters: int
    gmacs: float | None
    contract: dict[str, Any]
    lineage: dict[str, Any]
    accuracy: Accuracy | None = None
    latency: Samples | None = None
    speedup: float | None = None  # baseline median / this median, same interleaved run
    frame: Frame | None = None
    frame_speedup: float | None = None
    memory: Memory | None = None
    cold_start: ColdStart | None = None
    depth: DepthAccuracy | None = None
    warnings: tuple[str, ...] = ()
    device_times: DeviceTimes | None = None
    corruptions: tuple[Corrupted, ...] = ()  # accuracy on damaged images


@dataclass(frozen=True)
class Example:
    """One image for the eye: data URIs, label maps as palette PNG, photo as JPEG."""

    name: str
    image: str
    truth: str
    labels: dict[str, str]  # measurement name → prediction
    disagreement: dict[str, str]  # measurement name → pixels that differ from the baseline
    agreement: dict[str, float]


@dataclass(frozen=True)
class Record:
    """One benchmark run: a baseline and its candidates."""

    created: str  # ISO 8601, UTC
    command: str
    segship_version: str
    environment: Environment
    protocol: Protocol
    baseline: str
    measurements: tuple[Measurement, ...]
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    examples: tuple[Example, ...] = ()
    warnings: tuple[str, ...] = ()
    title: str = ""
    sensitivity: Sensitivity | None = None
    search: Search | None = None
    ledger: tuple[LedgerStep, ...] = ()
    schema_version: int = field(default=SCHEMA_VERSION)
    digest: str = field(default="", compare=False)  # set by `save_record`; "" in records of before

    def measurement(self, name: str) -> Measurement:
        """Return the measurement called `name`."""
        for item in self.measurements:
            if item.name == name:
                return item
        names = ", ".join(item.name for item in self.measurements)
        raise InputError(f"Expected one of {names}, but got {name!r}.")


def save_record(record: Record, path: Path) -> None:
    """Write `record` as JSON with the digest of its content, whole or not at all."""
    values = json.loads(json.dumps(asdict(record), allow_nan=False))
    values["digest"] = digest_of(values)
    write_text(path, json.dumps(values, indent=1, allow_nan=False) + "\n")


def load_record(path: Path) -> Record:
    """Read a record; InputError for what is none or was edited, OtherSchemaError for another."""
    from .record_reader import read_values, record_from_json

    values = read_values(existing_path(path, "a record"))
    version = values["schema_version"]
    if version != SCHEMA_VERSION:
        raise OtherSchemaError(
            f"Expected record schema {SCHEMA_VERSION}, but {path} has {version}: measure again."
        )
    refuse_edited(values, str(path))
    return record_from_json(values, str(path))
