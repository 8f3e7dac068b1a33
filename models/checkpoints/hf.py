"""What the JSON files of a Hugging Face folder say about the model and its images."""

from __future__ import annotations

import re
from pathlib import Path

from ...common.errors import InputError
from ...data.contract import Contract
from ..spec import ModelSpec, Provenance
from .build import build_model
from .hf_config import Json, class_names, ignore_index, numeric_notes, spec_from_config
from .hf_keys import hub_name
from .hf_preprocessor import read_preprocessing
from .layout import Tensors
from .model_card import read_card
from .palettes import Palette, palette_for

__all__ = ["build_model", "describe_hf", "licence_note"]

_CLASSIFIER = "heads.segmentation.classifier.weight"


def describe_hf(
    config: Json, folder: Path, tensors: Tensors, origin: Provenance
) -> tuple[ModelSpec, Contract, tuple[str, ...]]:
    """Return specification, contract and notes of canonical `tensors` by the files of `folder`.

    Raises:
        InputError: config.json or preprocessor_config.json says what no SegFormer or contract
            can be, or the classes do not fit the classifier.
    """
    channels = _output_channels(tensors, folder)
    spec = spec_from_config(config, channels, origin)
    contract, notes = _contract(config, folder, channels)
    return spec, contract, numeric_notes(config) + notes


def _output_channels(tensors: Tensors, folder: Path) -> int:
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


def licence_note(
    config: Json | None, source: str, folder: Path, *, nvidia_layout: bool = False
) -> str:
    """Return what users must know about the licence of weights.

    Weights of NVIDIA, and what was fine-tuned from them, are not for commercial use.
    `nvidia_layout` says that the encoders people have in this layout are NVIDIA's, converted or
    not.
    """
    card = read_card(folder)
    ancestry = (source, str((config or {}).get("_name_or_path", "")), *card.ancestors)
    if any(re.match(r"nvidia/|.*models--nvidia--", name) for name in ancestry):
        return (
            "These weights come from NVIDIA's SegFormer checkpoints (NVIDIA Source Code License): "
            "research and evaluation only, no commercial use."
        )
    if card.licence:
        parents = ", ".join(card.ancestors) or "none"
        return f"The model card states the licence {card.licence} (base model: {parents})."
    if nvidia_layout:
        return (
            "Encoders in this layout start from NVIDIA's MiT weights unless trained from scratch "
            "(NVIDIA Source Code License: research and evaluation only, no commercial use); "
            "check before you ship."
        )
    return (
        "Origin of the weights unknown: what was fine-tuned from NVIDIA's SegFormer checkpoints "
        "is for non-commercial use only; check before you ship."
    )
