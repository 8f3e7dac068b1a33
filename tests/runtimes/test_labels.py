"""Every output kind becomes labels of the wanted size."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segship.common.errors import InputError
from segship.data.contract import Contract, InputKind, OutputKind
from segship.optimize.export import export
from segship.runtimes.labels import labels_from_output
from segship.runtimes.open import open_session
from segship.runtimes.upsample_argmax import dense_upsample_argmax

CLASSES = ("a", "b", "c", "d", "e")


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("method", ["sparse", "dense-torch"])
def test_logits_are_resized_as_the_contract_says(method: str, align_corners: bool) -> None:
    logits = _noise(2, 5, 9, 7)
    contract = Contract(classes=CLASSES, align_corners=align_corners)
    labels = labels_from_output(logits, contract, (40, 33), method=method)
    expected = dense_upsample_argmax(logits, (40, 33), align_corners=align_corners)
    other = dense_upsample_argmax(logits, (40, 33), align_corners=not align_corners)
    np.testing.assert_array_equal(labels, expected)
    assert (expected != other).any()  # else the two settings could not be told apart


@pytest.mark.parametrize("method", ["sparse", "dense-torch"])
def test_full_logits_at_the_wanted_size_are_only_compared(method: str) -> None:
    logits = _noise(1, 5, 24, 32)
    contract = Contract(classes=CLASSES, output=OutputKind.LOGITS_FULL)
    labels = labels_from_output(logits, contract, (24, 32), method=method)
    np.testing.assert_array_equal(labels, logits.argmax(axis=1))


@pytest.mark.parametrize("method", ["sparse", "dense-torch"])
@pytest.mark.parametrize("threshold", [0.5, 0.2, 0.93])
def test_one_class_is_foreground_above_its_threshold(method: str, threshold: float) -> None:
    logits = _noise(2, 1, 16, 16)
    contract = Contract(classes=("crack",), threshold=threshold)
    labels = labels_from_output(logits, contract, (16, 16), method=method)
    expected = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64))) > threshold
    np.testing.assert_array_equal(labels, expected)
    assert 0 < expected.sum() < expected.size
    larger = labels_from_output(logits, contract, (50, 41), method=method)
    assert set(np.unique(larger)) == {0, 1}


def test_a_logit_at_the_threshold_is_background() -> None:
    contract = Contract(classes=("crack",), threshold=0.5)
    logits = np.zeros((1, 1, 4, 4), np.float32)
    assert not labels_from_output(logits, contract, (16, 16)).any()
    logits += np.float32(1e-3)
    assert labels_from_output(logits, contract, (16, 16)).all()


def test_labels_of_the_wanted_size_are_copied() -> None:
    """The output may be a runtime's buffer, overwritten by the next run."""
    contract = Contract(classes=CLASSES, output=OutputKind.LABELS)
    output = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    labels = labels_from_output(output, contract, (3, 4))
    output[:] = 0
    assert labels.tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]]


@given(st.integers(1, 20), st.integers(1, 60))
def test_labels_are_resized_to_the_nearest(length: int, wanted: int) -> None:
    contract = Contract(classes=CLASSES, output=OutputKind.LABELS)
    output = np.arange(length, dtype=np.int64).reshape(1, 1, length)
    labels = labels_from_output(output, contract, (1, wanted))[0, 0]
    centres = (np.arange(wanted) + 0.5) * length / wanted
    assert labels.dtype == np.uint8
    assert (np.abs(labels + 0.5 - centres) <= 0.5 + 1e-9).all()  # slack: centres on an edge


def test_labels_with_a_channel_axis_and_many_classes() -> None:
    names = tuple(str(index) for index in range(300))
    contract = Contract(classes=names, output=OutputKind.LABELS)
    labels = labels_from_output(np.full((2, 1, 3, 4), 299, np.int64), contract, (6, 8))
    assert labels.shape == (2, 6, 8) and labels.dtype == np.int32 and (labels == 299).all()


@pytest.mark.parametrize(
    ("output", "contract", "words"),
    [
        (_noise(1, 4, 8, 8), Contract(classes=CLASSES), "5 classes as the contract says"),
        (_noise(5, 8, 8), Contract(classes=CLASSES), "5 classes|batch, classes"),
        (_noise(1, 2, 8, 8), Contract(classes=("a",), threshold=0.5), "one class"),
        (_noise(1, 1, 8, 8), Contract(classes=("a",), threshold=1.0), "between 0 and 1"),
        (
            _noise(1, 8, 8),
            Contract(classes=CLASSES, output=OutputKind.LABELS),
            "integers as the contract says",
        ),
    ],
    ids=["classes", "rank", "two for a threshold", "threshold 1", "float labels"],
)
def test_refuses_what_the_contract_does_not_say(
    output: np.ndarray, contract: Contract, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        labels_from_output(output, contract, (16, 16))


def test_refuses_an_unknown_method() -> None:
    with pytest.raises(InputError, match="sparse, dense-torch, gpu, but got 'dense'"):
        labels_from_output(_noise(1, 5, 8, 8), Contract(classes=CLASSES), (8, 8), method="dense")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_labels_inside_the_graph_equal_labels_outside(
    runtime: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    raw = np.random.default_rng(1).integers(0, 256, (1, 3, 64, 96)).astype(np.uint8)
    found = []
    for kind in OutputKind:
        path = tmp_path / f"{kind.value}.onnx"
        export(tiny_checkpoint, path, output_kind=kind, input_kind=InputKind.UINT8)
        with open_session(path, runtime=runtime, threads=1) as session:
            output = session.run(raw)["segmentation"]
            found.append(labels_from_output(output, session.contract, (64, 96)))
    assert len(np.unique(found[0])) > 1
    for labels in found[1:]:  # a pixel may lie on a boundary within float32 rounding
        assert np.mean(labels == found[0]) > 0.999
    assert math.prod(found[0].shape) == 64 * 96
