"""The model card of a Hugging Face folder: what it is, what it loses, whose licence it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import __version__
from ..common.sizes import format_size
from ..data.contract import Contract
from ..models.checkpoints.checkpoint import Checkpoint
from ..models.checkpoints.hf_hub import is_hub_id
from ..models.checkpoints.model_card import ModelCard, read_card

_NVIDIA = "come from NVIDIA"  # the note of a checkpoint known to, not of one that may


def model_card(
    checkpoint: Checkpoint,
    contract: Contract,
    folds: tuple[str, ...],
    losses: tuple[str, ...],
    difference: str,
) -> str:
    """Return the text of README.md, with the front matter the Hub and segship read."""
    import yaml

    origin, head = checkpoint.spec.provenance, checkpoint.spec.head
    matter = yaml.safe_dump(_front_matter(checkpoint), sort_keys=False, allow_unicode=True)
    about = (
        f"SegFormer {checkpoint.spec.variant}, {head.classes} output channel(s), input "
        f"{format_size(contract.size_px)}. Written by segship {__version__} from "
        f"`{_source_name(origin.source)}` (layout: {origin.flavour}, SHA-256 `{origin.sha256}`)."
    )
    parts = [
        f"---\n{matter}---\n\n# SegFormer {checkpoint.spec.variant}\n\n{about}",
        _list("Folded exactly", folds),
        _list("Lost in this layout", losses),
        f"Against the original: {difference}.",
        "segship.json has the original's preprocessing, architecture and numbers.",
        f"## Licence\n\n{origin.licence_note}" if origin.licence_note else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(checkpoint: Checkpoint) -> dict[str, Any]:
    known = _known(checkpoint)
    matter: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "image-segmentation",
        "tags": ["segformer", "semantic-segmentation", "segship"],
    }
    if _NVIDIA in checkpoint.spec.provenance.licence_note:
        matter |= {"license": "other", "license_name": "nvidia-source-code-license"}
    elif known.licence:
        matter["license"] = known.licence
    if known.ancestors:
        matter["base_model"] = list(known.ancestors)
    return matter


def _known(checkpoint: Checkpoint) -> ModelCard:
    """Return what the original's own card states, the original itself among the ancestors."""
    path, source = checkpoint.path, checkpoint.spec.provenance.source
    card = ModelCard()
    if checkpoint.spec.provenance.flavour == "hf":  # beside other files a card may be another's
        card = read_card(path if path.is_dir() else path.parent)
    if is_hub_id(source) and not Path(source).exists():
        return ModelCard(card.licence, (source, *card.ancestors))
    return card


def _source_name(source: str) -> str:
    """Return a hub id as it is and the last part of a path: a card shows no one's folders."""
    local = Path(source).exists() or not is_hub_id(source)
    return Path(source).name if local else source


def _list(title: str, lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    return f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines)
