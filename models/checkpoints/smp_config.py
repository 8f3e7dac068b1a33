"""`config.json` of a segmentation_models_pytorch hub folder."""

from __future__ import annotations

from ...common.errors import InputError
from ..spec import ModelSpec
from .hf_config import Json

_UPSAMPLING = 4
_GENERIC = "export it with `segship export FILE --module file.py:Class`"


def is_smp(config: Json | None) -> bool:
    """Say whether `config` is one that SMP's `save_pretrained` writes.

    >>> is_smp({"_model_class": "Segformer"}), is_smp({"model_type": "segformer"})
    (True, False)
    """
    return config is not None and "_model_class" in config


def require_segformer(config: Json, folder: str) -> None:
    """Refuse what is no SegFormer with a Mix Transformer encoder.

    Raises:
        InputError: another architecture or encoder.
    """
    if config["_model_class"] != "Segformer":
        raise InputError(
            f"Expected _model_class 'Segformer' in {folder}/config.json, but got "
            f"{config['_model_class']!r}: {_GENERIC}."
        )
    encoder = config.get("encoder_name", "mit_b0")
    if not str(encoder).startswith("mit_b"):
        raise InputError(
            f"Expected a Mix Transformer encoder (mit_b0 to mit_b5), but {folder}/config.json "
            f"says {encoder!r}: train with one of these, or {_GENERIC}."
        )


def compare_with_config(config: Json, spec: ModelSpec, folder: str) -> tuple[str, ...]:
    """Return notes on what only the configuration says.

    Raises:
        InputError: configuration and tensors disagree, or its up-sampling is not by 4.
    """
    head = spec.head
    stated = {
        "classes": (config.get("classes", head.classes), head.classes),
        "in_channels": (config.get("in_channels", spec.in_channels), spec.in_channels),
        "decoder_segmentation_channels": (
            config.get("decoder_segmentation_channels", head.width),
            head.width,
        ),
        "upsampling": (config.get("upsampling", _UPSAMPLING), _UPSAMPLING),
    }
    for key, (said, needed) in stated.items():
        if said != needed:
            raise InputError(
                f"Expected {key} {needed} by the weights, but {folder}/config.json says {said!r}: "
                "the two belong to different models."
            )
    activation = config.get("activation")
    if activation in (None, "identity"):
        return ()
    return (f"the model's activation {activation!r} is left out: outputs are logits",)
