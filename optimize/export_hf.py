"""Checkpoint → a folder transformers loads, with the list of what that layout loses."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..common.errors import CheckFailedError
from ..common.files import atomic_folder
from ..common.sizes import MIN_SIDE_PX
from ..data.contract import ChannelOrder, Contract
from ..models.checkpoints import load_checkpoint
from ..models.checkpoints.checkpoint import Checkpoint
from ..models.checkpoints.hf_write import write_hf_files
from ..models.segformer import SegFormer
from .hf_card import model_card
from .hf_form import HfForm, hf_form
from .parity import normalised_pixels, raw_pixels

RECORD = "segship.json"
# float32 sums in another order, as in research/checkpoints.md 1.14: 1e-6 is usual
_EXACT = 1e-5


@dataclass(frozen=True)
class HfDifference:
    """Logits at 1/4 against the checkpoint's, on a seeded image of `size_px`.

    `relative` is the largest difference over the largest logit, `agreement` the share of equal
    labels; `weights_only` is the first of them with the checkpoint's own eps and align_corners.
    """

    size_px: tuple[int, int]
    weights_only: float
    relative: float
    agreement: float

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"logits as transformers computes them differ by {self.relative:.1e} of the largest, "
            f"labels equal {self.agreement:.4%} (one seeded image; the weights alone: "
            f"{self.weights_only:.1e})"
        )


@dataclass(frozen=True)
class HfExportReport:
    """The folder that was written, what was folded exactly, what is lost and what that costs."""

    path: Path
    folds: tuple[str, ...]
    losses: tuple[str, ...]
    difference: HfDifference
    licence_note: str
    seconds: float


def export_hf(
    source: str | Path | Checkpoint,
    folder: str | Path,
    *,
    size_px: tuple[int, int] | None = None,
) -> HfExportReport:
    """Write a checkpoint as a plain Hugging Face folder; list what that layout cannot say.

    The folder holds config.json, preprocessor_config.json, model.safetensors, a model card
    (README.md) and segship.json: the contract and specification of the original, the exact folds,
    the losses and their measured size. It is read back before it appears under its name.

    Args:
        source: checkpoint directory, file or hub id, or one already loaded.
        folder: the folder to write, new or empty.
        size_px: (height, width) images are resized to; the checkpoint's own where None.

    Raises:
        InputError: the checkpoint has no equal in transformers, or `folder` holds something.
        CheckFailedError: what was folded is not the same function (a defect of segship).
    """
    started = time.perf_counter()
    target = Path(folder)
    checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source)
    contract = checkpoint.contract if size_px is None else checkpoint.contract.with_size(*size_px)
    form = hf_form(checkpoint.model, contract)
    difference = _difference(checkpoint.model, contract, form)
    with atomic_folder(target) as temporary:
        write_hf_files(form.model, form.contract, temporary)
        losses = form.losses + _unsaid(_read_back(temporary, form), form.contract)
        record = _record(checkpoint, contract, form, losses, difference)
        (temporary / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        card = model_card(checkpoint, form.contract, form.folds, losses, str(difference))
        (temporary / "README.md").write_text(card, encoding="utf-8")
    licence = checkpoint.spec.provenance.licence_note
    seconds = time.perf_counter() - started
    return HfExportReport(target, form.folds, losses, difference, licence, seconds)


def _difference(model: SegFormer, contract: Contract, form: HfForm) -> HfDifference:
    """Compare the original with the folded weights, and with what transformers will compute."""
    size = tuple(max(side, MIN_SIDE_PX) for side in contract.size_px)
    raw = raw_pixels((1, 3, *size), np.random.default_rng(0))
    want = _logits(model, contract, raw)
    got = _logits(form.weights_only, form.contract, raw)
    exact = _relative(got, want)
    if exact > _EXACT:
        raise CheckFailedError(
            f"Expected the folded weights to equal the checkpoint, but logits differ by "
            f"{exact:.1e} of the largest: nothing was written; please report it."
        )
    if form.model.spec != form.weights_only.spec:
        got = _logits(form.model, form.contract, raw)
    equal = float((_labels(got, contract) == _labels(want, contract)).mean())
    return HfDifference((size[0], size[1]), exact, _relative(got, want), equal)


def _logits(model: SegFormer, contract: Contract, raw: NDArray[np.uint8]) -> NDArray[Any]:
    """Return the segmentation logits (B,K,h,w) at 1/4 of RGB images (B,3,H,W)."""
    import torch

    ordered = raw[:, ::-1] if contract.channel_order is ChannelOrder.BGR else raw
    pixels = torch.from_numpy(normalised_pixels(ordered, contract))
    with torch.inference_mode():
        logits = model.heads["segmentation"](model.encoder(pixels))
    array: NDArray[Any] = logits.numpy()
    return array


def _relative(got: NDArray[Any], want: NDArray[Any]) -> float:
    return float(np.abs(got - want).max() / max(float(np.abs(want).max()), 1e-30))


def _labels(logits: NDArray[Any], contract: Contract) -> NDArray[Any]:
    """Return labels (B,h,w); for one class where the logit exceeds the threshold's."""
    if logits.shape[1] > 1:
        return np.asarray(logits.argmax(axis=1))
    share = contract.threshold or 0.5
    return np.asarray(logits[:, 0] > np.log(share / (1 - share)))


def _read_back(folder: Path, form: HfForm) -> Contract:
    """Return the contract the written folder has; refuse weights that are not those of `form`."""
    import torch

    back = load_checkpoint(folder)
    want, got = form.model.state_dict(), back.model.state_dict()
    wrong = [name for name in want if not torch.equal(want[name], got[name])]
    if wrong or want.keys() != got.keys():
        raise CheckFailedError(
            f"Expected the written folder to hold the same weights, but {wrong[:1]} differs: "
            "nothing was written; please report it."
        )
    return back.contract


def _unsaid(read: Contract, wanted: Contract) -> tuple[str, ...]:
    """Name the fields that read back otherwise and that no loss above names."""
    named = {"align_corners", "threshold", "label_map", "palette", "classes", "heads"}
    silent = {"input", "output", "depth_scale", "depth_abs", "depth_range", "version"}
    losses = []
    for field in fields(Contract):
        before, after = getattr(wanted, field.name), getattr(read, field.name)
        if field.name not in named | silent and before != after:
            losses.append(f"{field.name} {_word(before)}: reads back as {_word(after)}")
    return tuple(losses)


def _word(value: object) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _record(
    checkpoint: Checkpoint,
    contract: Contract,
    form: HfForm,
    losses: tuple[str, ...],
    difference: HfDifference,
) -> dict[str, Any]:
    """Return what segship.json holds; `contract` and `spec` describe the original."""
    return {
        "written_by": f"segship {__version__}",
        "folds": list(form.folds),
        "losses": list(losses),
        "difference": vars(difference),
        "contract": json.loads(contract.to_json()),
        "spec": checkpoint.spec.to_json(),
        "notes": list(checkpoint.notes),
    }
