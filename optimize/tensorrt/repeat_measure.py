"""Engine files of the same build, opened and compared on drawn scenes. Not run on a GPU here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...data.contract import DEPTH_HEAD, Contract
from ...data.loader import prefetch
from ...data.spec import open_dataset
from ...runtimes.labels import labels_from_output
from ...runtimes.open import open_session
from ...runtimes.session import Session
from .repeat import RebuildVariance, rebuild_variance

Opener = Callable[[Path], Session]
SCENES = "scenes:8"


def _open(path: Path) -> Session:
    return open_session(path, runtime="tensorrt")


def compare_engines(
    paths: Sequence[Path], data: str = SCENES, *, opener: Opener = _open
) -> RebuildVariance:
    """Time engines in turns and compare their labels on images of `data`.

    Args:
        paths: the engines, in the order built.
        data: data specification of the images.
        opener: opens one engine.

    Raises:
        InputError: an engine does not open, or the data do not.
    """
    with ExitStack() as stack:
        sessions = [stack.enter_context(opener(path)) for path in paths]
        contract = sessions[0].contract
        batch = sessions[0].input.shape[0]
        images = (
            item.pixels if isinstance(batch, str) else item.pixels.repeat(batch, axis=0)
            for item in prefetch(open_dataset(data), contract)
        )
        label = partial(_labels, contract=contract)
        return rebuild_variance([item.run for item in sessions], label, images)


def _labels(outputs: dict[str, NDArray[Any]], contract: Contract) -> NDArray[Any]:
    """Return the labels of the first head that has any; a depth map itself where none has."""
    heads = [head for head in contract.heads if head != DEPTH_HEAD]
    if not heads:
        return outputs[contract.heads[0]]
    return labels_from_output(outputs[heads[0]], contract, contract.size_px)
