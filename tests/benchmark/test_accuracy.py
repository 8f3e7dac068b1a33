"""Evaluation on real models and real data against computations written out here."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from segship.benchmark.accuracy import AccuracyRule, measure_accuracy
from segship.benchmark.candidate import Candidate
from segship.benchmark.evaluate import evaluate
from segship.benchmark.record import load_record, save_record
from segship.benchmark.subject import Subject
from segship.common.errors import CheckFailedError, InputError
from segship.data.dataset import Sample
from segship.data.preprocess import preprocess
from segship.data.scenes import SCENE_CLASSES, Scenes
from segship.models.checkpoints import load_checkpoint
from segship.optimize.export import export
from segship.runtimes.open import open_session

Tiny = Callable[..., Any]
CAMVID_CLASSES = 11


def test_tiny_model_scores_what_torch_and_a_pixel_count_say(tiny: Tiny) -> None:
    made, images = tiny(), 3
    record = evaluate([made.candidate], f"scenes:{images}", progress=False)
    scenes, model = Scenes(images), made.model()
    matrix = np.zeros((len(SCENE_CLASSES), len(SCENE_CLASSES)), np.int64)
    for index in range(images):
        sample = scenes.sample(index)
        pixels = torch.from_numpy(preprocess(sample.image, made.contract))
        with torch.no_grad():
            logits = model(pixels)["segmentation"]
        full = functional.interpolate(logits, sample.labels.shape, mode="bilinear")
        prediction = full.argmax(1)[0].numpy()
        scored = sample.labels != scenes.ignore_index
        np.add.at(matrix, (sample.labels[scored], prediction[scored]), 1)
    (measured,) = record.measurements
    assert measured.accuracy is not None and measured.accuracy.images == images
    got = np.array(measured.accuracy.confusion)
    # torch and ONNX Runtime round differently; a tie may fall the other way on a few pixels
    assert np.abs(got - matrix).sum() <= 1e-4 * matrix.sum()
    assert got.sum() == matrix.sum()


def test_record_names_baseline_agreement_and_drop(tiny: Tiny, tmp_path: Path) -> None:
    plain, other = tiny(), tiny("other", seed=1)
    record = evaluate(
        [plain.candidate, replace(plain.candidate, postprocess="dense-torch"), other.candidate],
        "scenes:4",
        progress=False,
    )
    base, same, worse = record.measurements
    assert record.baseline == base.name == "plain · onnxruntime fp32, sparse"
    assert same.name == "plain · onnxruntime fp32, dense-torch"
    assert worse.name == "other · onnxruntime fp32"
    assert base.accuracy and same.accuracy and worse.accuracy
    assert base.accuracy.drop is None and base.accuracy.pixel_agreement is None
    assert same.accuracy.pixel_agreement == 1.0
    drop = same.accuracy.drop
    assert drop and (drop.miou, drop.low, drop.high) == (0.0, 0.0, 0.0)
    assert worse.accuracy.pixel_agreement is not None and worse.accuracy.pixel_agreement < 1
    drop = worse.accuracy.drop
    assert drop and drop.low <= drop.high
    assert drop.miou == base.accuracy.miou - worse.accuracy.miou
    assert record.protocol.images == 4 and "stretch to 64x96" in record.protocol.evaluation
    assert 0.9 * plain.parameters < base.parameters <= plain.parameters  # BatchNorm is folded
    assert base.gmacs and base.gmacs > 0 and base.lineage["parameters"] == plain.parameters
    assert len(record.examples) == 4
    assert set(record.examples[0].labels) == {base.name, same.name, worse.name}
    save_record(record, tmp_path / "r.json")
    assert load_record(tmp_path / "r.json") == record


def test_float_and_uint8_candidates_share_one_pass(tiny: Tiny) -> None:
    record = evaluate(
        [tiny().candidate, tiny("uint8", uint8=True).candidate], "scenes:2", progress=False
    )
    accuracy = record.measurements[1].accuracy
    assert accuracy is not None and accuracy.pixel_agreement is not None
    assert accuracy.pixel_agreement > 0.9999  # the same sums in another order


def test_same_seed_same_record_of_accuracy(tiny: Tiny) -> None:
    candidates = [tiny().candidate, tiny("other", seed=1).candidate]
    first, again = (evaluate(candidates, "scenes:3", progress=False) for _ in range(2))
    assert [item.accuracy for item in first.measurements] == [
        item.accuracy for item in again.measurements
    ]


def test_limit_scores_only_the_first_images(tiny: Tiny) -> None:
    limited = evaluate([tiny().candidate], "scenes:5", limit=2, progress=False)
    short = evaluate([tiny().candidate], "scenes:2", progress=False)
    assert limited.measurements[0].accuracy == short.measurements[0].accuracy
    assert limited.protocol.images == 2


class _ManyScenes(Scenes):
    """Two drawn scenes, repeated: time goes into the loop and not into drawing."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._samples = [super(_ManyScenes, self).sample(index) for index in range(2)]

    def sample(self, index: int) -> Sample:
        return self._samples[index % 2]


def test_memory_does_not_grow_with_the_number_of_images(tiny: Tiny) -> None:
    models = [tiny(), tiny("other", seed=1)]
    sessions = [open_session(str(item.path), runtime="onnxruntime", threads=1) for item in models]
    subjects = [
        Subject(str(number), session, session.contract) for number, session in enumerate(sessions)
    ]
    peaks = {}
    for count in (30, 30, 150):  # the first pass warms every cache and is overwritten
        dataset = _ManyScenes(count)
        gc.collect()
        tracemalloc.start()
        measure_accuracy(subjects, dataset, palette=dataset.palette, progress=False)
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    image_bytes = 256 * 384 * 3
    # Keeping anything per image, even one label map, would add 120 × 98 kB = 13 images.
    assert peaks[150] < peaks[30] + 2 * image_bytes


def test_nothing_scored_is_an_error_not_a_number(tiny: Tiny) -> None:
    class Unlabelled(Scenes):
        def sample(self, index: int) -> Sample:
            item = super().sample(index)
            return replace(item, labels=np.full_like(item.labels, self.ignore_index))

    with open_session(str(tiny().path), runtime="onnxruntime", threads=1) as session:
        with pytest.raises(CheckFailedError, match="all of 2 images hold only the ignored"):
            measure_accuracy(
                [Subject("x", session, session.contract)],
                Unlabelled(2),
                palette=(),
                rule=AccuracyRule(),
                progress=False,
            )


def test_wrong_input_is_refused_before_anything_runs(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one"):
        evaluate([], "scenes:1")
    with pytest.raises(InputError, match="nowhere"):
        evaluate([Candidate(str(tmp_path / "nowhere.onnx"), "onnxruntime")], "scenes:1")
    with pytest.raises(InputError, match="static at batch 1 of 64x96"):
        evaluate([replace(tiny().candidate, size_px=(32, 32))], "scenes:1", progress=False)


def independent_matrix(shared_dir: Path, images: int) -> np.ndarray:
    """Confusion of the reference checkpoint on CamVid val from the PNG files: PIL and torch only.

    The network's numbers come from the reference model; nothing of data/, runtimes/ or benchmark/.
    """
    model = load_checkpoint(shared_dir / "checkpoints" / "segformer-b0-camvid").model
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    matrix = np.zeros((CAMVID_CLASSES, CAMVID_CLASSES), np.int64)
    for path in sorted((shared_dir / "camvid" / "val").glob("*.jpg"))[:images]:
        image = np.asarray(Image.open(path).convert("RGB"), np.float64)
        truth = np.asarray(Image.open(shared_dir / "camvid" / "valannot" / f"{path.stem}.png"))
        pixels = ((image / 255 - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
        with torch.no_grad():
            logits = model(torch.from_numpy(pixels))["segmentation"]
            full = functional.interpolate(
                logits, size=truth.shape, mode="bilinear", align_corners=False
            )
        prediction = full.argmax(1)[0].numpy()
        for label in range(CAMVID_CLASSES):
            row = np.bincount(prediction[truth == label], minlength=CAMVID_CLASSES)
            matrix[label] += row
    return matrix


def miou_of(matrix: np.ndarray) -> float:
    hits = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hits
    return float((hits[union > 0] / union[union > 0]).mean())


def reference_candidate(shared_dir: Path) -> Candidate:
    return Candidate(str(shared_dir / "checkpoints" / "segformer-b0-camvid"), "torch")


def test_reference_miou_equals_an_independent_computation(shared_dir: Path) -> None:
    record = evaluate(
        [reference_candidate(shared_dir)],
        f"camvid:{shared_dir / 'camvid'}@val",
        limit=4,
        progress=False,
    )
    accuracy = record.measurements[0].accuracy
    assert accuracy is not None
    matrix = independent_matrix(shared_dir, 4)
    assert accuracy.miou == pytest.approx(miou_of(matrix), abs=1e-4)  # float32 ties, issue 2
    assert np.abs(np.array(accuracy.confusion) - matrix).sum() <= 1e-4 * matrix.sum()


def test_every_form_has_the_readmes_miou_on_all_101_images(
    shared_dir: Path, tmp_path: Path
) -> None:
    """The proof of issue 2: torch, plain and rewritten ONNX on both runtimes, every pixel."""
    torch_form = reference_candidate(shared_dir)
    for name, fold in (("plain", False), ("rewritten", True)):
        export(torch_form.source, tmp_path / f"{name}.onnx", fold=fold)
    forms = [
        Candidate(str(tmp_path / f"{name}.onnx"), runtime)
        for name in ("plain", "rewritten")
        for runtime in ("onnxruntime", "openvino")
    ]
    record = evaluate([torch_form, *forms], f"camvid:{shared_dir / 'camvid'}@val", progress=False)
    independent = miou_of(independent_matrix(shared_dir, 101))
    for item in record.measurements:
        assert item.accuracy is not None and item.accuracy.images == 101
        assert item.accuracy.miou == pytest.approx(independent, abs=1e-4)
        assert item.accuracy.miou == pytest.approx(0.5404, abs=5e-5)  # README: two decimals
        assert item.accuracy.pixel_accuracy == pytest.approx(0.8746, abs=5e-5)
        if item.name != record.baseline:
            assert item.accuracy.pixel_agreement is not None
            assert item.accuracy.pixel_agreement > 0.9999
