"""How far apart are two artifacts on real images: logits, labels, values that are no numbers.

An FP16 graph is judged as FP16 hardware would run it (fp16_rounding.py says why ONNX Runtime's own
answer on a CPU must not be trusted).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...common.errors import InputError
from ...runtimes.artifact import Artifact
from ...runtimes.labels import labels_from_output
from ...runtimes.open import open_session
from ...runtimes.session import Session
from .fp16 import has_half
from .fp16_rounding import as_hardware
from .not_finite import first_not_finite, hidden_overflow

# The bound for a change of precision; research/performance.md 9.
AGREEMENT_FLOOR = 0.995
_PROBED = 4  # batches looked at inside, where a quantizer could hide an overflow

Place = str | Path | Artifact | Session


@dataclass(frozen=True)
class HeadVerdict:
    """Differences of one output over all images.

    `max_abs` and `max_reference` are in logits (metres of the network for a depth head), None
    where the outputs are labels or of different sizes; `agreement` is the share of pixels with
    the same label at the input's size, none of them in a batch that is not finite, and None for a
    depth head. `not_finite` counts NaN and
    infinite values in the second artifact's output.
    """

    head: str
    max_abs: float | None
    max_reference: float | None
    agreement: float | None
    not_finite: int


@dataclass(frozen=True)
class Verdict:
    """What `compare_artifacts` found; `first` names the first tensor that is not finite.

    A quantizer makes finite numbers of infinite ones: `first` may name one where the outputs are
    all finite.
    """

    heads: tuple[HeadVerdict, ...]
    images: int
    first: str = ""
    notes: tuple[str, ...] = ()

    @property
    def agreement(self) -> float | None:
        """The lowest share of equal labels over all heads, None where no head has labels."""
        known = [item.agreement for item in self.heads if item.agreement is not None]
        return min(known, default=None)

    @property
    def not_finite(self) -> int:
        """NaN and infinite values over all heads."""
        return sum(item.not_finite for item in self.heads)

    @property
    def finite(self) -> bool:
        """True when every output is finite, and every tensor that was looked at."""
        return not self.not_finite and not self.first

    @property
    def passed(self) -> bool:
        """True when all is finite and enough pixels agree."""
        agreement = self.agreement
        return self.finite and (agreement is None or agreement >= AGREEMENT_FLOOR)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; an infinite difference becomes null."""
        values = asdict(self)
        for head in values["heads"]:
            if head["max_abs"] is not None and not np.isfinite(head["max_abs"]):
                head["max_abs"] = None
        return values

    def __str__(self) -> str:
        """Return the verdict in one line."""
        heads = "; ".join(_describe(item) for item in self.heads)
        bad = f"; {self.not_finite} values NaN or infinite" if self.not_finite else ""
        bad = bad or ("; an overflow that a quantizer hides" if self.first else "")
        first = f", first in {self.first}" if self.first else ""
        return f"{heads} ({self.images} images{bad}{first})"


@dataclass
class _Tally:
    max_abs: float = 0.0
    max_reference: float = 0.0
    comparable: bool = True
    equal: int = 0
    pixels: int = 0
    not_finite: int = 0


@dataclass
class _Seen:
    tallies: dict[str, _Tally]
    images: int = 0
    broken: NDArray[Any] | None = field(default=None, repr=False)
    probed: list[NDArray[Any]] = field(default_factory=list, repr=False)


def compare_artifacts(
    reference: Place,
    other: Place,
    images: Iterable[NDArray[Any]],
    *,
    threads: int | None = None,
) -> Verdict:
    """Compare `other` with `reference` on `images`.

    Args:
        reference: an ONNX file or checkpoint, as path or artifact, or a session on one.
        other: likewise. A file in FP16 runs as FP16 hardware would run it, a session as it is.
        images: pixels (B,3,H,W) as both take them; read once.
        threads: None uses the physical cores.

    Raises:
        InputError: no image, or the two do not take the same pixels or have other heads.
    """
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(_opened(reference, threads))
        second = stack.enter_context(_opened(other, threads))
        _refuse_strangers(first, second)
        seen = _Seen({name: _Tally() for name in first.contract.heads})
        for pixels in images:
            _compare(first, second, pixels, seen)
    if not seen.images:
        raise InputError("Expected images to compare two artifacts on, but got none.")
    heads = tuple(_head(name, tally) for name, tally in seen.tallies.items())
    verdict = Verdict(heads, seen.images, "", _notes(reference, other))
    path = None if isinstance(other, Session) else _onnx_path(other)
    if path is None:
        return verdict
    if seen.broken is not None:
        return replace(verdict, first=first_not_finite(_load(path), seen.broken))
    return replace(verdict, first=hidden_overflow(_load(path), seen.probed))


@contextlib.contextmanager
def _opened(place: Place, threads: int | None) -> Iterator[Session]:
    """Yield a session on `place`; an FP16 file rounds as hardware does."""
    if isinstance(place, Session):
        yield place
        return
    if _onnx_path(place) is None:
        with open_session(place, runtime="torch", precision="fp32", threads=threads) as session:
            yield session
        return
    with as_hardware(place) as artifact:
        with open_session(artifact, runtime="onnxruntime", threads=threads) as session:
            yield session


def _compare(first: Session, second: Session, pixels: NDArray[Any], seen: _Seen) -> None:
    """Run one batch through both and add it to the tallies."""
    expected, got = first.run(pixels), second.run(pixels)
    seen.images += len(pixels)
    if len(seen.probed) < _PROBED:
        seen.probed.append(pixels)
    size = (int(pixels.shape[2]), int(pixels.shape[3]))
    for name, tally in seen.tallies.items():
        before = tally.not_finite
        _count(tally, expected[name], got[name])
        broken = tally.not_finite > before
        if broken and seen.broken is None:
            seen.broken = pixels
        if name == "depth":
            continue
        if broken:  # no label of such an image means anything
            tally.pixels += len(pixels) * size[0] * size[1]
            continue
        same = labels_from_output(expected[name], first.contract, size) == labels_from_output(
            got[name], second.contract, size
        )
        tally.equal += int(same.sum())
        tally.pixels += same.size


def _count(tally: _Tally, expected: NDArray[Any], got: NDArray[Any]) -> None:
    """Add one pair of outputs to the largest differences and the values that are no numbers."""
    logits = expected.dtype.kind == got.dtype.kind == "f"
    if got.dtype.kind == "f":
        tally.not_finite += int(got.size - np.isfinite(got).sum())
    if not logits or expected.shape != got.shape:
        tally.comparable = False
        return
    worst = float(np.abs(expected.astype(np.float64) - got.astype(np.float64)).max())
    tally.max_abs = max(tally.max_abs, worst if np.isfinite(worst) else float("inf"))
    tally.max_reference = max(tally.max_reference, float(np.abs(expected).max()))


def _head(name: str, tally: _Tally) -> HeadVerdict:
    agreement = tally.equal / tally.pixels if tally.pixels else None
    if not tally.comparable:
        return HeadVerdict(name, None, None, agreement, tally.not_finite)
    return HeadVerdict(name, tally.max_abs, tally.max_reference, agreement, tally.not_finite)


def _describe(item: HeadVerdict) -> str:
    parts = []
    if item.max_abs is not None:
        parts.append(f"max|Δ| {item.max_abs:.2g} of {item.max_reference:.3g}")
    if item.agreement is not None:
        parts.append(f"labels equal {item.agreement:.4%}")
    return f"{item.head}: {', '.join(parts) or 'nothing to compare'}"


def _notes(*places: Place) -> tuple[str, ...]:
    paths = [_onnx_path(item) for item in places if not isinstance(item, Session)]
    half = [path for path in paths if path is not None and has_half(_load(path))]
    return tuple(f"{path}: every FP16 result rounded, as FP16 hardware does" for path in half)


def _refuse_strangers(first: Session, second: Session) -> None:
    one, two = first.contract, second.contract
    if first.input.dtype != second.input.dtype or set(one.heads) != set(two.heads):
        raise InputError(
            f"Expected two artifacts of the same input and heads, but got {first.input.dtype} and "
            f"{', '.join(one.heads)} against {second.input.dtype} and {', '.join(two.heads)}."
        )


def _onnx_path(place: str | Path | Artifact) -> Path | None:
    """Return the ONNX file of `place`, None for a checkpoint."""
    path = place.path if isinstance(place, Artifact) else Path(place)
    return path if path.suffix.lower() == ".onnx" else None


def _load(path: Path) -> Any:
    import onnx

    return onnx.load(str(path))
