"""What a Hugging Face model card (README.md) states about its weights: licence and ancestors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CARD = "README.md"
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---", re.DOTALL)


@dataclass(frozen=True)
class ModelCard:
    """The front matter's `license` (or `license_name`) and `base_model`; empty where not stated."""

    licence: str = ""
    ancestors: tuple[str, ...] = ()


def read_card(folder: Path) -> ModelCard:
    """Read the card of a checkpoint folder; a missing or malformed one states nothing.

    The fields are those of the Hub's documentation of model cards.
    """
    import yaml

    try:
        text = (folder / CARD).read_text(encoding="utf-8", errors="replace")
        found = _FRONT_MATTER.match(text)
        values = yaml.safe_load(found.group(1)) if found else None
    except (OSError, yaml.YAMLError):
        return ModelCard()
    if not isinstance(values, dict):
        return ModelCard()
    licence = values.get("license_name") or values.get("license")
    base = values.get("base_model")
    ancestors = base if isinstance(base, list) else [base]
    return ModelCard(
        licence if isinstance(licence, str) else "",
        tuple(name for name in ancestors if isinstance(name, str)),
    )
