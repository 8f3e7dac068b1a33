"""`config.json` of a Hugging Face checkpoint: architecture, classes, ignore index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...common.errors import InputError
from ..spec import STAGES, HeadSpec, ModelSpec, Provenance, name_variant
from .messages import one_line

Json = dict[str, Any]

_EPS = 1e-5  # what transformers uses at every LayerNorm, whatever the config says
_IGNORE_INDEX = 255

# config.json key: ModelSpec field; transformers' defaults are B0's, as ours are
_PER_STAGE = {
    "hidden_sizes": "widths",
    "depths": "depths",
    "num_attention_heads": "attention_heads",
    "sr_ratios": "sr_ratios",
    "mlp_ratios": "mlp_ratios",
    "patch_sizes": "patch_sizes",
    "strides": "strides",
}


def read_json(path: Path) -> Json:
    """Read a JSON object.

    Raises:
        InputError: the file is no JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"Expected JSON in {path}, but it cannot be read ({one_line(error)}): "
            "download it again."
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"Expected a JSON object in {path}, but got {type(values).__name__}.")
    return values


def read_config(folder: Path) -> Json:
    """Read `config.json` and refuse what is no SegFormer for segmentation.

    Raises:
        InputError: no config.json, another model type, or an encoder without decode head.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(
            f"Expected a checkpoint, but {folder} has no config.json: name the folder that "
            "save_pretrained wrote."
        )
    return check_config(read_json(path), path)


def check_config(config: Json, path: Path) -> Json:
    """Return `config`, read from `path`, if it is of a SegFormer for segmentation.

    Raises:
        InputError: another model type, or an encoder without decode head.
    """
    if config.get("model_type") != "segformer":
        raise InputError(
            f"Expected model_type 'segformer' in {path}, but got {config.get('model_type')!r}: "
            "segship reads SegFormer checkpoints of transformers."
        )
    named = [name for name in config.get("architectures") or () if isinstance(name, str)]
    if named and "SegformerForSemanticSegmentation" not in named:
        raise InputError(
            f"Expected SegformerForSemanticSegmentation in {path}, but got {named[0]}, which has "
            "no decode head: use a checkpoint fine-tuned for segmentation."
        )
    return config


def spec_from_config(config: Json, classes: int, provenance: Provenance) -> ModelSpec:
    """Return the specification `config` describes, with a head of `classes` channels.

    Raises:
        InputError: a value no SegFormer of transformers can have.
    """
    if config.get("num_encoder_blocks", STAGES) != STAGES:
        raise InputError(
            f"Expected {STAGES} encoder blocks, but config.json says "
            f"{config['num_encoder_blocks']}."
        )
    if (activation := config.get("hidden_act", "gelu")) != "gelu":
        raise InputError(f"Expected hidden_act 'gelu' in config.json, but got {activation!r}.")
    stages: dict[str, Any] = {
        field: _per_stage(config, key) for key, field in _PER_STAGE.items() if key in config
    }
    head = HeadSpec(classes=classes, width=_positive(config, "decoder_hidden_size", 256))
    channels = _positive(config, "num_channels", 3)
    if channels != 3:
        raise InputError(f"Expected 3 input channels, but config.json says {channels}.")
    return name_variant(ModelSpec(heads=(head,), provenance=provenance, **stages))


def numeric_notes(config: Json) -> tuple[str, ...]:
    """Say where the numbers of config.json are not those transformers computes with."""
    eps = config.get("layer_norm_eps", _EPS)
    if eps == _EPS:
        return ()
    return (
        f"config.json says layer_norm_eps {eps}; transformers ignores it and uses {_EPS}, "
        "so segship does too",
    )


def ignore_index(config: Json) -> int:
    """Return the label that is never scored."""
    value = config.get("semantic_loss_ignore_index", _IGNORE_INDEX)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(
            f"Expected a whole number as semantic_loss_ignore_index, but got {value!r}."
        )
    return value


def class_names(config: Json, channels: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return one name per output channel, and notes on names that had to be arranged.

    `id2label` may start at 1 or have gaps: as many names as channels are taken in the order of
    their ids; ids that fit the channels but leave some out get "class_<id>" there.

    Raises:
        InputError: config.json names another number of classes than the classifier has.
    """
    table = _id2label(config)
    if table is None:
        _require_count(config.get("num_labels", channels), channels)
        names = tuple(f"class_{index}" for index in range(channels))
        return names, ("config.json has no id2label: classes are named by their index",)
    ids = sorted(table)
    if len(ids) == channels:
        in_order = tuple(table[index] for index in ids)
        if ids == list(range(channels)):
            return in_order, ()
        return in_order, (
            f"id2label has the ids {_span(ids)} for {channels} channels: "
            "names were given to the channels in that order",
        )
    _require_count(ids[-1] + 1 if ids[0] >= 0 else len(ids), channels, len(ids))
    filled = tuple(table.get(index, f"class_{index}") for index in range(channels))
    missing = [index for index in range(channels) if index not in table]
    return filled, (f"id2label names no class {_span(missing)}: named by index",)


def _id2label(config: Json) -> dict[int, str] | None:
    table = config.get("id2label")
    if not table:
        return None
    try:
        return {int(key): str(name) for key, name in table.items()}
    except (AttributeError, ValueError) as error:
        raise InputError(
            f"Expected id2label to map whole numbers to names, but got {str(table)[:60]}: "
            "correct config.json."
        ) from error


def _require_count(declared: Any, channels: int, names: int | None = None) -> None:
    if declared != channels:
        raise InputError(
            f"Expected as many classes as the classifier has channels ({channels}), but "
            f"config.json declares {names or declared}: config and weights belong to different "
            "models."
        )


def _span(ids: list[int]) -> str:
    """Write ids shortly.

    >>> _span([1, 2, 3]), _span([0, 2]), _span([4])
    ('1 to 3', '0, 2', '4')
    """
    if len(ids) > 2 and ids == list(range(ids[0], ids[-1] + 1)):
        return f"{ids[0]} to {ids[-1]}"
    return ", ".join(map(str, ids[:8])) + (", …" if len(ids) > 8 else "")


def _per_stage(config: Json, key: str) -> tuple[int, ...]:
    values = config[key]
    valid = isinstance(values, list) and all(type(item) is int and item > 0 for item in values)
    if not valid or len(values) != STAGES:
        raise InputError(
            f"Expected {STAGES} positive whole numbers as {key} in config.json, but got {values}."
        )
    return tuple(values)


def _positive(config: Json, key: str, default: int) -> int:
    value = config.get(key, default)
    if type(value) is not int or value < 1:
        raise InputError(f"Expected a positive whole number as {key}, but got {value!r}.")
    return value
