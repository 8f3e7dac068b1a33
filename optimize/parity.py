"""Does an exported artifact compute what the checkpoint computes in torch?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.contract import Contract, InputKind
from ..models.foreign_module import ForeignModule
from ..models.segformer import SegFormer
from ..runtimes.session import Session

# float32 against float32 in another order of operations; research/checkpoints.md 1.14 measures
# 1e-6 of the largest logit, a wrong eps costs 1e-5 to 1e-3, a wrong mapping over 1e-1.
RELATIVE_TOLERANCE = 1e-4
AGREEMENT_FLOOR = 0.9999


@dataclass(frozen=True)
class HeadParity:
    """Largest differences of one output over all checked inputs."""

    head: str
    max_abs: float
    max_reference: float
    agreement: float | None  # share of equal labels; None for a head without classes
    passed: bool


@dataclass(frozen=True)
class Parity:
    """The verdict over every head and every checked input shape."""

    heads: tuple[HeadParity, ...]
    shapes: tuple[tuple[int, ...], ...]
    images: int = 0  # real images among the inputs

    @property
    def passed(self) -> bool:
        """True when every head is within tolerance."""
        return all(head.passed for head in self.heads)

    def __str__(self) -> str:
        """Return the verdict in one line."""
        parts = []
        for head in self.heads:
            labels = "" if head.agreement is None else f", labels equal {head.agreement:.4%}"
            parts.append(
                f"{head.head}: max|Δ| {head.max_abs:.1e} of {head.max_reference:.3g}{labels}"
            )
        sizes = ", ".join("×".join(str(side) for side in shape) for shape in self.shapes)
        real = f" and {self.images} real images" if self.images else ""
        verdict = "equal to torch" if self.passed else "DIFFERS from torch"
        return f"{verdict} ({'; '.join(parts)}; inputs {sizes}{real})"


@dataclass
class _Tally:
    max_abs: float = 0.0
    max_reference: float = 0.0
    equal: int = 0
    pixels: int = 0


def check_parity(
    model: SegFormer | ForeignModule,
    session: Session,
    shapes: tuple[tuple[int, ...], ...],
    *,
    images: Sequence[NDArray[Any]] = (),
    seed: int = 0,
) -> Parity:
    """Compare `session` with `model` (as loaded, no rewrite) on seeded inputs of `shapes`.

    The reference runs in float32 with the contract's own wrapping, so that input and output
    kinds are compared like with like. Seeded inputs are noise over ramps with black and white
    corners; `images` are prepared pixels (B,3,H,W) of the contract's kind.
    """
    contract = session.contract
    tallies = {name: _Tally() for name in contract.heads}
    inputs = [_seeded(shape, contract, (seed, number)) for number, shape in enumerate(shapes)]
    for pixels in (*inputs, *images):
        expected = _reference(model, contract, pixels)
        for name, got in session.run(pixels).items():
            _count(tallies[name], expected[name], got)
    heads = tuple(_verdict(name, contract, tally) for name, tally in tallies.items())
    return Parity(heads, shapes, len(images))


def _seeded(shape: tuple[int, ...], contract: Contract, seed: tuple[int, int]) -> NDArray[Any]:
    raw = raw_pixels(shape, np.random.default_rng(seed))
    return raw if contract.input is InputKind.UINT8 else normalised_pixels(raw, contract)


def _reference(
    model: SegFormer | ForeignModule, contract: Contract, pixels: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    import torch

    from .wrapper import wrapped

    reference = wrapped(model, contract)
    with torch.inference_mode():
        outputs = reference(torch.from_numpy(pixels))
    return {n: out.numpy() for n, out in zip(contract.heads, outputs, strict=True)}


def _count(tally: _Tally, expected: NDArray[Any], got: NDArray[Any]) -> None:
    """Add one pair of outputs to the running maxima and label counts."""
    difference = np.abs(expected.astype(np.float64) - got.astype(np.float64))
    worst = float(difference.max()) if expected.shape == got.shape else float("inf")
    tally.max_abs = max(tally.max_abs, worst if np.isfinite(worst) else float("inf"))
    tally.max_reference = max(tally.max_reference, float(np.abs(expected).max()))
    if expected.ndim == 4 and expected.shape[1] > 1:
        expected, got = expected.argmax(axis=1), got.argmax(axis=1)
    if expected.dtype.kind in "iu":
        tally.equal += int((expected == got).sum())
        tally.pixels += expected.size


def _verdict(name: str, contract: Contract, tally: _Tally) -> HeadParity:
    agreement = tally.equal / tally.pixels if tally.pixels else None
    near = tally.max_abs <= RELATIVE_TOLERANCE * tally.max_reference
    if contract.returns_labels(name):
        near = True  # labels are judged by agreement: their difference has no scale
    passed = near and (agreement is None or agreement >= AGREEMENT_FLOOR)
    return HeadParity(name, tally.max_abs, tally.max_reference, agreement, passed)


def raw_pixels(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.uint8]:
    """(B,3,H,W) uint8: noise over smooth ramps, one corner black and one white."""
    _, channels, height, width = shape
    ramp = np.linspace(0, 255, height)[:, None] * np.linspace(0.2, 1, width)[None, :]
    tint = random.uniform(0.3, 1, size=(shape[0], channels, 1, 1))
    pixels = tint * ramp + random.normal(0, 25, size=shape)
    pixels[..., : height // 4, : width // 4] = 0
    pixels[..., -height // 4 :, -width // 4 :] = 255
    return pixels.clip(0, 255).astype(np.uint8)


def normalised_pixels(raw: NDArray[np.uint8], contract: Contract) -> NDArray[np.float32]:
    """Return (B,3,H,W) uint8 in the contract's channel order, scaled and normalised."""
    mean = np.asarray(contract.mean, np.float64).reshape(1, 3, 1, 1)
    std = np.asarray(contract.std, np.float64).reshape(1, 3, 1, 1)
    scaled: NDArray[np.float32] = ((raw * contract.scale - mean) / std).astype(np.float32)
    return scaled
