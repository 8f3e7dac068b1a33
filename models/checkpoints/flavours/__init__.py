"""One reader per checkpoint flavour: a table of names, and what no tensor says."""

from __future__ import annotations

from ....common.errors import InputError
from ..flavour import Flavour
from .course import COURSE
from .hf import HF
from .mmseg import MMSEG
from .nvlabs import NVLABS
from .segformer3d import SEGFORMER3D
from .sithu import SITHU
from .smp import SMP
from .tao6 import TAO6
from .zuppichini import ZUPPICHINI

FLAVOURS: tuple[Flavour, ...] = (
    HF,
    NVLABS,
    TAO6,
    MMSEG,
    SMP,
    SITHU,
    COURSE,
    SEGFORMER3D,
    ZUPPICHINI,
)


def flavour_named(name: str) -> Flavour:
    """Return a flavour by its name.

    >>> flavour_named("tao6").title
    'NVIDIA TAO 6'

    Raises:
        InputError: there is none of that name.
    """
    for flavour in FLAVOURS:
        if flavour.name == name:
            return flavour
    names = ", ".join(flavour.name for flavour in FLAVOURS)
    raise InputError(f"Expected a flavour of {names}, but got {name!r}: correct it.")
