"""Hugging Face checkpoints: a folder of `save_pretrained`, one of its files, or a hub id."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from ...common.errors import InputError
from ...data.contract import Contract
from ..segformer import SegFormer
from ..spec import ModelSpec, Provenance
from .checkpoint import Checkpoint
from .hf_config import (
    Json,
    class_names,
    ignore_index,
    numeric_notes,
    read_config,
    spec_from_config,
)
from .hf_keys import hub_name, to_canonical
from .hf_preprocessor import read_preprocessing
from .messages import listed
from .model_card import read_card
from .palettes import Palette, palette_for
from .tensors import Weights, as_float32, find_weights

_CLASSIFIER = "heads.segmentation.classifier.weight"
_COUNTER = "num_batches_tracked"  # not stored by every version, and not used at inference


def read_hf(folder: Path, *, source: str) -> Checkpoint:
    """Read a Hugging Face folder into the canonical model; `source` is what the user typed.

    Raises:
        InputError: anything missing, unexpected, damaged, unsafe or of another model.
    """
    config = read_config(folder)
    return _read(config, find_weights(folder), source)


def read_hf_file(path: Path, *, source: str) -> Checkpoint:
    """Read one weights file, with the config.json beside it, into the canonical model.

    Raises:
        InputError: as `read_hf`; an unsafe or damaged file is named before a missing config.
    """
    weights = Weights(path.parent, (path.name,))
    stored = weights.read()
    return _read(read_config(path.parent), weights, source, stored)


def _read(
    config: Json, weights: Weights, source: str, stored: dict[str, Tensor] | None = None
) -> Checkpoint:
    folder = weights.folder
    named = to_canonical(weights.read() if stored is None else stored, str(folder))
    tensors, dtypes = as_float32(named, str(folder))
    channels = _output_channels(tensors, folder)
    origin = Provenance("hf", source, weights.sha256(), _licence_note(config, source, folder))
    spec = spec_from_config(config, channels, origin)
    contract, notes = _contract(config, folder, channels)
    notes = numeric_notes(config) + notes + _dtype_notes(dtypes)
    return Checkpoint(build_model(spec, tensors, str(folder)), spec, contract, notes, folder)


def build_model(spec: ModelSpec, tensors: dict[str, Tensor], source: str) -> SegFormer:
    """Return the canonical model of `spec` holding exactly `tensors` (canonical names, float32).

    Raises:
        InputError: a tensor is missing, has another shape, or has no place in the model.
    """
    with torch.device("meta"):
        model = SegFormer(spec)
    expected = model.state_dict()
    counters = {name for name in expected if name.endswith(_COUNTER)}
    tensors = {**{name: torch.zeros((), dtype=torch.int64) for name in counters}, **tensors}
    _compare(expected, tensors, source)
    model.load_state_dict(tensors, assign=True)
    return model.requires_grad_(False).eval()


def _compare(expected: dict[str, Tensor], found: dict[str, Tensor], source: str) -> None:
    if missing := expected.keys() - found.keys():
        raise InputError(
            f"Expected {len(expected)} tensors, but {source} lacks "
            f"{listed(map(hub_name, missing))}: the file is incomplete, or config.json "
            "belongs to another model."
        )
    if unexpected := found.keys() - expected.keys():
        raise InputError(
            f"Expected {len(expected)} tensors, but {source} also holds "
            f"{listed(map(hub_name, unexpected))}: config.json belongs to another model."
        )
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise InputError(
                f"Expected {hub_name(name)!r} of shape {tuple(tensor.shape)} by config.json, but "
                f"{source} holds {tuple(found[name].shape)}: the two belong to different models."
            )


def _output_channels(tensors: dict[str, Tensor], folder: Path) -> int:
    classifier = tensors.get(_CLASSIFIER)
    if classifier is None or classifier.ndim != 4:
        raise InputError(
            f"Expected a decode head, but {folder} has no usable {hub_name(_CLASSIFIER)!r}: "
            "use a whole checkpoint of SegformerForSemanticSegmentation."
        )
    return int(classifier.shape[0])


def _contract(config: Json, folder: Path, channels: int) -> tuple[Contract, tuple[str, ...]]:
    classes, class_notes = class_names(config, channels)
    fields, notes = read_preprocessing(folder)
    notes = class_notes + notes
    if channels == 1:
        fields["threshold"] = 0.5
        notes += ("one output channel: a pixel is foreground where sigmoid(logit) > 0.5",)
    contract = Contract(
        classes=classes,
        palette=_palette(config, classes),
        ignore_index=ignore_index(config),
        **fields,
    )
    return contract, notes


def _palette(config: Json, classes: tuple[str, ...]) -> Palette:
    """Take the palette segship's own writer stores; other writers store none."""
    stored = config.get("palette")
    if not isinstance(stored, list) or len(stored) != len(classes):
        return palette_for(classes)
    colours = [tuple(item) for item in stored if isinstance(item, list) and len(item) == 3]
    if len(colours) != len(classes) or not all(
        type(part) is int and 0 <= part <= 255 for colour in colours for part in colour
    ):
        return palette_for(classes)
    return tuple((red, green, blue) for red, green, blue in colours)


def _dtype_notes(dtypes: set[str]) -> tuple[str, ...]:
    if not dtypes:
        return ()
    return (f"weights are stored as {', '.join(sorted(dtypes))}; computed in float32",)


def _licence_note(config: Json, source: str, folder: Path) -> str:
    """Weights of NVIDIA, and what was fine-tuned from them, are not for commercial use."""
    card = read_card(folder)
    ancestry = (source, str(config.get("_name_or_path", "")), *card.ancestors)
    if any(re.match(r"nvidia/|.*models--nvidia--", name) for name in ancestry):
        return (
            "These weights come from NVIDIA's SegFormer checkpoints (NVIDIA Source Code License): "
            "research and evaluation only, no commercial use."
        )
    if card.licence:
        parents = ", ".join(card.ancestors) or "none"
        return f"The model card states the licence {card.licence} (base model: {parents})."
    return (
        "Origin of the weights unknown: what was fine-tuned from NVIDIA's SegFormer checkpoints "
        "is for non-commercial use only; check before you ship."
    )
