"""What cannot be evaluated is said before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

from ..common.errors import InputError
from ..data.contract import Contract, OutputKind
from ..data.dataset import Dataset
from .opened import DEPTH, label_names, labelling_head
from .scoring import Scoring


def refuse_unaveraged(name: str, contract: Contract, postprocess: str, scoring: Scoring) -> None:
    """Refuse windows and flips of labels, and a flip with a post-processing of its own.

    Raises:
        InputError: as said.
    """
    if not scoring.sliding and not scoring.flip:
        return
    if labelling_head(contract) and contract.output is OutputKind.LABELS:
        raise InputError(
            f"Expected logits to average, but {name} returns labels: export it with "
            "--output logits, or leave out --protocol slide and --flip."
        )
    if scoring.flip and postprocess != "sparse":
        raise InputError(
            f"Expected no post-processing of its own with a flip, but {name} has {postprocess}: "
            "probabilities are averaged; leave out --postprocess."
        )


def refuse_missing_truth(contracts: Sequence[Contract], dataset: Dataset) -> None:
    """Refuse a data set without anything that the models predict.

    Raises:
        InputError: as said.
    """
    label = any(map(labelling_head, contracts))
    deep = any(DEPTH in item.heads for item in contracts)
    if not (label and dataset.has_labels) and not (deep and dataset.has_depth):
        missing = "labels" if label else "depth"
        raise InputError(
            f"Expected a data set with {missing}, which the models predict, but {dataset.name} "
            "has none: give one that has."
        )


def refuse_unknown_classes(
    contracts: Sequence[Contract], dataset: Dataset, scoring: Scoring
) -> None:
    """Refuse classes to exclude that there are not.

    Raises:
        InputError: as said.
    """
    for contract in filter(labelling_head, contracts):
        scoring.excluded(dataset.classes or label_names(contract), contract.num_classes)
        return
