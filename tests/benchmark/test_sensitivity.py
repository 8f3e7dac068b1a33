"""The price of a part is what its file really loses, and nothing where it is the float file."""

from __future__ import annotations

import math
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from segship.benchmark.latency import Latency, LatencyRule
from segship.benchmark.logit_loss import _divergence
from segship.benchmark.samples import summarise
from segship.benchmark.sensitivity import gain, sensitivity
from segship.data.scenes import SCENE_CLASSES

QUICK = LatencyRule(rounds=2, runs=2, warmup_runs=4, warmup_s=1, window=2, minimum_rounds=1)


def copied(source: Path, target: Path) -> int:
    shutil.copy(source, target)
    return 0


def shifted(source: Path, target: Path) -> int:
    """Write the file with the first class's bias 0.5 up, which every logit of it shows."""
    model = onnx.load(str(source))
    node = next(item for item in model.graph.node if item.name == "/segmentation/classifier/Conv")
    tensor = next(item for item in model.graph.initializer if item.name == node.input[2])
    bias = numpy_helper.to_array(tensor).copy()
    bias[0] += 0.5
    tensor.CopyFrom(numpy_helper.from_array(bias, tensor.name))
    onnx.save(model, str(target))
    return 1


def test_the_price_is_what_the_file_loses(tiny_onnx: Path) -> None:
    parts = {"same": partial(copied, tiny_onnx), "classifier": partial(shifted, tiny_onnx)}
    found = sensitivity(
        tiny_onnx, parts, "scenes:4", images=2, threads=1, clock=QUICK, progress=False
    )
    same, other = found.rows
    assert (same.mse, same.kl, same.disagreement, same.miou_drop) == (0, 0, 0, 0)
    assert (same.part, other.part, other.nodes) == ("same", "classifier", 1)
    classes = len(SCENE_CLASSES)
    # 0.5² on one logit of each pixel's classes; float32 rounds the sums
    assert other.mse == pytest.approx(0.25 / classes, rel=1e-4)
    assert other.kl is not None
    assert 0 < other.kl < 0.125  # p(1-p)·d²/2 at most, to second order
    assert other.disagreement is not None
    assert other.disagreement > 0
    assert same.saved_ms is not None
    assert found.images == 2
    assert found.latency_rule


def test_without_a_clock_there_are_no_times(tiny_onnx: Path) -> None:
    parts = {"same": partial(copied, tiny_onnx)}
    found = sensitivity(
        tiny_onnx, parts, "scenes:2", images=1, threads=1, clock=None, progress=False
    )
    assert found.rows[0].saved_ms is None
    assert found.latency_rule == ""


def test_divergence_by_hand() -> None:
    # p = (1/2, 1/2), q = (1/4, 3/4): KL = ½ ln 2 + ½ ln ⅔
    reference = np.zeros((1, 2, 1, 1), np.float32)
    found = np.log(np.array([0.25, 0.75], np.float32)).reshape(1, 2, 1, 1)
    wanted = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert _divergence(reference, found) == pytest.approx(wanted, rel=1e-5)  # float32 logits


def test_a_gain_within_the_noise_is_doubtful() -> None:
    noise = np.random.default_rng(0)
    drift = np.repeat(noise.uniform(1, 3, 9), 2)  # the machine is up to 3 times slower in a round

    def latency(median_ms: float) -> Latency:
        times_ms = median_ms * drift * (1 + 0.01 * noise.standard_normal(18))
        return Latency(summarise(list(times_ms)), ())

    equal = gain(latency(20.0), latency(20.0), 2)
    assert equal.doubtful
    assert equal.speedup == pytest.approx(1, abs=0.01)  # 1 % noise, the lesser of two runs
    better = gain(latency(20.0), latency(18.0), 2)
    assert not better.doubtful
    assert better.speedup == pytest.approx(20 / 18, abs=0.02)  # as above, two medians
    assert better.saved_ms > 2  # in slow rounds more than on an idle machine
    alone = Latency(summarise([1.0, 1.0]), ())
    assert gain(alone, alone, 2).doubtful
