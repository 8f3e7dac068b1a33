"""Records made up for the report tests; no number in here was ever measured."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segship.benchmark.record import (
    Accuracy,
    ColdStart,
    Drop,
    Environment,
    Example,
    Frame,
    Measurement,
    Memory,
    Protocol,
    Record,
    Samples,
)
from segship.tests.reports.browser import Browser, open_browser

CAMVID = (
    "sky building pole road pavement tree sign fence car pedestrian bicyclist"
).split()  # fmt: skip
# name, runtime, precision, post-processing, median ms, drop of mIoU, peak MiB, process before MiB
CANDIDATES = (
    ("plain-onnxruntime", "onnxruntime", "fp32", "dense-torch", 80.21, 0.0, 241.5, 71.2),
    ("plain-openvino", "openvino", "fp32", "sparse", 47.34, 0.0, 262.1, 74.8),
    ("rewritten-onnxruntime", "onnxruntime", "fp32", "sparse", 35.72, 0.0, 198.3, 71.1),
    ("rewritten-openvino", "openvino", "fp32", "sparse", 25.08, 0.00001, 215.7, 74.9),
    ("rewritten-openvino-bf16", "openvino", "bf16", "sparse", 15.63, 0.0003, 171.4, 75.0),
    ("pooled-openvino-bf16", "openvino", "bf16", "sparse", 12.48, 0.0311, 169.9, 74.7),
)


def samples(median_ms: float, seed: int, count: int = 120) -> Samples:
    """Return skewed times around `median_ms` with their true percentiles."""
    noise = np.random.default_rng(seed).lognormal(0.0, 0.35, count)
    times = median_ms * (0.97 + 0.03 * noise / np.median(noise))
    low, p25, median, p75, p90, p99 = np.percentile(times, (0, 25, 50, 75, 90, 99))
    return Samples(tuple(times), (3 * low, 1.1 * low), median, p90, p99, p75 - p25)


def accuracy(classes: int, drop: float, *, baseline: bool, seed: int) -> Accuracy:
    """Return an accuracy whose mIoU is the mean of its IoUs; class 3 of many is absent."""
    iou = np.random.default_rng(1).uniform(0.05, 0.95, classes)
    fall = drop * np.random.default_rng(seed).uniform(0.2, 1.8, classes)
    absent = {3} if classes > 12 else set()
    scores = [None if i in absent else float(v) for i, v in enumerate(iou - fall)]
    falls = [None if i in absent else float(v) for i, v in enumerate(fall)]
    known = [score for score in scores if score is not None]
    lost = sum(v for v in falls if v is not None) / len(known)
    half = 0.0 if drop == 0 else 0.0006
    return Accuracy(
        images=101,
        miou=sum(known) / len(known),
        iou=tuple(scores),
        pixel_accuracy=0.8746,
        confusion=tuple(tuple(9000 * (a == b) + 7 for a in range(classes)) for b in range(classes)),
        drop=None if baseline else Drop(lost, lost - half, lost + half, 0.95, 1000),
        pixel_agreement=None if baseline else 1.0 - drop / 2,
        iou_drop=() if baseline else tuple(falls),
    )


def frame(inference_ms: float, postprocess: str, seed: int) -> Frame:
    """Return a frame whose parts add up to its total."""
    after_ms = 27.9 if postprocess == "dense-torch" else 1.63
    parts = (3.12, 4.85, inference_ms, after_ms)
    decode, preprocess, inference, after = (samples(p, seed + i) for i, p in enumerate(parts))
    total = samples(sum(parts), seed + 9)
    return Frame("0016E5_07959.jpg", postprocess, decode, preprocess, inference, after, total)


def lineage(*, rewritten: bool) -> dict[str, object]:
    """Return where an artifact came from, as plain JSON values."""
    notes = ["stage 1 to 4 at their own resolution", "batch norm folded"]
    passes = [
        {"name": "fold-head", "changed": 1, "notes": notes},
        {"name": "share-kv", "changed": 8, "notes": []},
        {"name": "drop-nothing", "changed": 0, "notes": ["found no such place"]},
    ]
    return {
        "source": "segformer-b0-camvid",
        "source_sha256": "c3" * 32,
        "flavour": "huggingface",
        "variant": "B0",
        "passes": passes if rewritten else [],
        "tool_versions": {"onnx": "1.21.0", "torch": "2.13.0"},
    }


def measurement(
    row: tuple[str, str, str, str, float, float, float, float], index: int
) -> Measurement:
    """Return one whole measurement; the accuracy is filled in by `build_record`."""
    name, runtime, precision, postprocess, median_ms, _, peak_mib, before_mib = row
    plain = name.startswith("plain")
    return Measurement(
        name=name,
        path=f"runs/{name.split('-')[0]}.onnx",
        sha256=("a1" if plain else "b2") * 32,
        kind="onnx",
        runtime=runtime,
        precision=precision,
        threads=2,
        batch=1,
        input_shape=(1, 3, 512, 512),
        parameters=3_716_971,
        gmacs=8.42 if plain else 4.11,
        contract={"input": "float32", "output": "logits", "resize": "stretch"},
        lineage=lineage(rewritten=not plain),
        latency=samples(median_ms, 10 * index),
        frame=frame(median_ms, postprocess, 10 * index),
        memory=Memory(peak_mib, before_mib, 14.3 if plain else 14.1),
        cold_start=ColdStart(212.0 + index, 95.5, 3.1 * median_ms),
    )


def finish(
    rows: list[tuple[str, str, str, str, float, float, float, float]], classes: int
) -> tuple[Measurement, ...]:
    """Return the rows' measurements with accuracy and speed-ups against the first."""
    items = [measurement(row, index) for index, row in enumerate(rows)]
    first = items[0]
    return tuple(
        replace(
            item,
            accuracy=accuracy(classes, row[5], baseline=item is first, seed=index),
            speedup=1.0 if item is first else _ratio(first.latency, item.latency),
            frame_speedup=1.0 if item is first else _ratio(_total(first), _total(item)),
        )
        for index, (item, row) in enumerate(zip(items, rows, strict=True))
    )


def build_record(
    *, count: int = 6, classes: int = 11, examples: int = 0, picture: str = ""
) -> Record:
    """Return a record of the first `count` candidates, the first being the baseline."""
    rows = [
        CANDIDATES[i % 6] if i < 6 else (f"variant-{i}", *CANDIDATES[i % 6][1:])
        for i in range(count)
    ]
    finished = finish(rows, classes)
    names = tuple(CAMVID) if classes == 11 else tuple(f"class-{i}" for i in range(classes))
    colours = np.random.default_rng(5).integers(0, 256, (classes, 3)).tolist()
    return Record(
        created="2026-03-02T09:41:07+00:00",
        command="segship benchmark plain.onnx rewritten.onnx@openvino:bf16 --data camvid:set@val",
        segship_version="0.1.0",
        environment=ENVIRONMENT,
        protocol=PROTOCOL,
        baseline=finished[0].name,
        measurements=finished,
        classes=names,
        palette=tuple((int(r), int(g), int(b)) for r, g, b in colours),
        examples=tuple(_example(i, finished, picture or noise_uri(i)) for i in range(examples)),
        title="SegFormer-B0 on CamVid",
    )


def noise_uri(seed: int, width: int = 480, height: int = 360) -> str:
    """Return a photo-sized JPEG data URI."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _example(index: int, items: tuple[Measurement, ...], uri: str) -> Example:
    names = [item.name for item in items]
    agreement = {name: 1.0 - 0.001 * place for place, name in enumerate(names)}
    same = dict.fromkeys(names, uri)
    return Example(f"0016E5_{7959 + index:05d}.jpg", uri, uri, same, dict(same), agreement)


def _ratio(before: Samples | None, after: Samples | None) -> float | None:
    return before.median_ms / after.median_ms if before and after else None


def _total(item: Measurement) -> Samples | None:
    return item.frame.total if item.frame else None


ENVIRONMENT = Environment(
    host_id="5f0c9a1e",
    cpu="Intel Xeon Platinum 8481C @ 2.70 GHz",
    cpu_flags=("avx2", "avx512f", "avx512_bf16", "amx_bf16", "sse2"),
    cores_physical=2,
    cores_logical=4,
    memory_mib=16011,
    os="Linux 6.1 x86_64",
    python="3.11.7",
    governor="performance",
    load_average=0.07,
    libraries={"onnxruntime": "1.24.4", "openvino": "2026.4.1", "numpy": "2.4.1"},
    git_commit="0123abc",
)
PROTOCOL = Protocol(
    data="camvid:../shared/camvid@val",
    images=101,
    data_sha256="d4" * 32,
    evaluation="whole image, stretch to 512x512, logits bilinear to label size",
    batch=1,
    threads=2,
    latency_rule="warm-up until steady, then 120 rounds, interleaved",
    bootstrap="paired Poisson bootstrap over images, 1000 resamples, 95 %",
    seed=0,
)


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """Return the builder; `replace` its result for the odd cases."""
    return build_record


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return one Chromium for all tests that need it."""
    with open_browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def full_report(make_record: Callable[..., Record], tmp_path: Path) -> Path:
    """Return the report of a record that fills every section."""
    from segship.tests.reports.full import write_full

    return write_full(make_record, tmp_path / "full.html")


@pytest.fixture
def two_records(make_record: Callable[..., Record], tmp_path: Path) -> Path:
    """Return the report of that record and one of another host."""
    from segship.tests.reports.full import write_two

    return write_two(make_record, tmp_path / "two.html")
