"""How far the logits and labels of a file lie from those of its float graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.contract import OutputKind
from ..data.dataset import Dataset
from ..data.loader import prefetch
from ..runtimes.session import Session
from .confusion import Confusion, counts_of, miou
from .opened import DEPTH, labelling_head, static_batch
from .subject import Subject

Array = NDArray[Any]


@dataclass(frozen=True)
class LogitLoss:
    """As in `price.PartPrice`; None where there are no logits, classes or labels."""

    images: int
    mse: float | None
    kl: float | None
    disagreement: float | None
    miou_drop: float | None


@dataclass(frozen=True)
class _Image:
    """One image with what the float graph makes of it; labels at the stored size."""

    pixels: Array
    truth: Array
    output: Array
    labels: Array | None


class Reference:
    """The float graph's outputs on chosen images, held in memory."""

    def __init__(self, session: Session, dataset: Dataset, indices: Sequence[int]) -> None:
        """Run `session` over the images."""
        contract = session.contract
        self._head = labelling_head(contract) or DEPTH
        self._logits = contract.output is not OutputKind.LABELS or self._head == DEPTH
        self._classes, self._ignore = contract.num_classes, dataset.ignore_index
        self._scored = dataset.has_labels and self._head != DEPTH
        self._images = []
        for item in prefetch(dataset, contract, indices=indices):
            pixels = np.repeat(item.pixels, static_batch(session), axis=0)
            size_px = (item.image.shape[0], item.image.shape[1])
            truth = item.labels if self._scored else np.zeros(size_px, np.uint8)
            output, labels = self._see(session, pixels, truth)
            self._images.append(_Image(pixels, truth, output, labels))
        self._miou = self._score([item.labels for item in self._images])

    def loss(self, session: Session) -> LogitLoss:
        """Return what `session` loses against the float graph."""
        squares, divergence, pixels, differ, total = 0.0, 0.0, 0, 0, 0
        seen: list[Array | None] = []
        values = 0
        for item in self._images:
            output, labels = self._see(session, item.pixels, item.truth)
            if self._logits:
                squares += float(np.square(output - item.output, dtype=np.float64).sum())
                values += output.size
            if self._logits and output.ndim == 4 and output.shape[1] > 1:
                divergence += _divergence(item.output, output)
                pixels += output.size // output.shape[1]
            if labels is not None and item.labels is not None:
                differ += int(np.count_nonzero(labels != item.labels))
                total += labels.size
            seen.append(labels)
        score = self._score(seen)
        lost = None if score is None or self._miou is None else self._miou - score
        return LogitLoss(
            images=len(self._images),
            mse=squares / values if values else None,
            kl=divergence / pixels if pixels else None,
            disagreement=differ / total if total else None,
            miou_drop=lost,
        )

    def _see(self, session: Session, pixels: Array, truth: Array) -> tuple[Array, Array | None]:
        """Return a copy of the head's output (1,…) and the labels at the truth's size."""
        subject = Subject("", session, session.contract)
        outputs = {head: value[:1] for head, value in session.run(pixels).items()}
        labels_px = (truth.shape[0], truth.shape[1])
        labels = subject.seen(outputs, labels_px, None).labels
        return outputs[self._head].astype(np.float32), labels

    def _score(self, labels: Sequence[Array | None]) -> float | None:
        if not self._scored:
            return None
        confusion = Confusion(self._classes, self._ignore)
        for item, found in zip(self._images, labels, strict=True):
            if found is not None:
                confusion.update(item.truth, found)
        value = float(miou(counts_of(confusion.matrix)))
        return None if math.isnan(value) else value


def _divergence(reference: Array, found: Array) -> float:
    """Return Σ KL(softmax(reference) ‖ softmax(found)) over the pixels of (B,K,h,w), in nats."""
    first, second = _log_softmax(reference), _log_softmax(found)
    return float((np.exp(first) * (first - second)).sum())


def _log_softmax(logits: Array) -> Array:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
