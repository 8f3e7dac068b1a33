"""What an opened session needs to be fed and read: contract at a size, batch, head."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from ..data.contract import Contract
from ..runtimes.session import Session

Array = NDArray[Any]
DEPTH = "depth"


def contract_at(session: Session, size_px: tuple[int, int] | None, batch: int = 1) -> Contract:
    """Return the session's contract at input size `size_px` (None: its own).

    Raises:
        InputError: the artifact is static and takes another size or batch.
    """
    contract = session.contract
    if size_px is not None and size_px != contract.size_px:
        contract = contract.with_size(*size_px)
    shape = input_shape(contract, batch)
    if not session.input.accepts(shape):
        raise InputError(
            f"Expected an artifact that takes {_words(shape)}, but this one is static at "
            f"{_words(session.input.shape)}: export with --dynamic, or at that size."
        )
    return contract


def input_shape(contract: Contract, batch: int) -> tuple[int, int, int, int]:
    """Return (batch, 3, height, width) at the contract's size."""
    return (batch, 3, *contract.size_px)


def static_batch(session: Session) -> int:
    """Return the batch a static artifact insists on, 1 where the batch is free."""
    batch = session.input.shape[0]
    return batch if isinstance(batch, int) else 1


def synthetic_pixels(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    """Return pixels of `shape`: uniform 0..255 for uint8, standard normal for float32."""
    generator = np.random.default_rng(seed)
    if dtype == "uint8":
        return generator.integers(0, 256, shape, np.uint8)
    return generator.standard_normal(shape, np.float32).astype(dtype, copy=False)


def labelling_head(contract: Contract) -> str:
    """Return the head labels come from: "segmentation", or the first one that is not depth.

    "" where there is only depth.

    >>> labelling_head(Contract(heads=("depth", "road")))
    'road'
    """
    heads = [head for head in contract.heads if head != DEPTH]
    return "segmentation" if "segmentation" in heads else next(iter(heads), "")


def label_names(contract: Contract) -> tuple[str, ...]:
    """Return the names of the labels a prediction holds, () where nobody stated them.

    One class with a threshold has a background before it.

    >>> label_names(Contract(classes=("nail",), threshold=0.5))
    ('background', 'nail')
    """
    if contract.threshold is not None and len(contract.classes) == 1:
        return ("background", *contract.classes)
    return contract.classes


def _words(shape: tuple[int | str, ...]) -> str:
    return f"batch {shape[0]} of {shape[2]}x{shape[3]}" if len(shape) == 4 else str(shape)
