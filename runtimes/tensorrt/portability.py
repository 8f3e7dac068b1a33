"""Where a built engine may run: the rules of TensorRT's engine compatibility.

Facts: https://docs.nvidia.com/deeplearning/tensorrt/11.4.1/getting-started/support-matrix.html
(versions), https://docs.nvidia.com/deeplearning/tensorrt/11.1.0/inference-library/engine-compatibility.html
(versions and hardware). Not run on a GPU here.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...common.errors import InputError

HARDWARE = ("none", "ampere-plus", "same-compute-capability")
AMPERE_SM = (8, 0)
_FIRST_COMPATIBLE = (8, 6)
_ACROSS_MAJORS = {(8, 10), (10, 11)}  # the only two pairs the support matrix lists


def refuse_other_version(
    engine_path: Path, built: str, installed: str, *, compatible: bool
) -> tuple[str, ...]:
    """Refuse an engine of another TensorRT than `installed`, unless built to be carried forward.

    Raises:
        InputError: the versions do not go together.
    """
    old, new = version_numbers(built), version_numbers(installed)
    shared = min(len(old), len(new))
    if old[:shared] == new[:shared] and shared >= 2:
        return ()
    forward = compatible and _goes_forward(old, new)
    if forward:
        return (
            f"built with TensorRT {built} to run on later ones; this is {installed}, and it can "
            "be slower than an engine built here",
        )
    way = (
        "it runs on later versions only" if compatible else "it was built without --version-compat"
    )
    raise InputError(
        f"Expected an engine for TensorRT {installed}, but {engine_path} was built with {built} "
        f"({way}): build it again here, or install TensorRT {built}."
    )


def refuse_other_gpu(
    engine_path: Path,
    built: tuple[str, str],
    here: tuple[str, str],
    *,
    compatibility: str,
) -> tuple[str, ...]:
    """Refuse an engine whose GPU (name, SM) is not this one, unless built to be carried.

    Raises:
        InputError: another compute capability than the engine allows.
    """
    (built_gpu, built_sm), (gpu, sm) = built, here
    ampere = compatibility == "ampere-plus"
    if built_sm != sm and not (ampere and version_numbers(sm) >= AMPERE_SM):
        way = {
            "ampere-plus": "it runs on SM 8.0 and later",
            "same-compute-capability": f"it runs on SM {built_sm} alone",
        }.get(compatibility, "an engine runs where it was built")
        raise InputError(
            f"Expected an engine for {gpu} (SM {sm}), but {engine_path} was built on {built_gpu} "
            f"(SM {built_sm}; {way}): build it on this machine."
        )
    if built_gpu != gpu and compatibility == "none":
        return (
            f"built on {built_gpu}, not on this {gpu}: same SM {sm}, but its kernels were chosen "
            "for the other GPU",
        )
    return ()


def version_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a version or compute capability, up to what is no number.

    >>> version_numbers("10.3.0.26"), version_numbers("8.6.1.post1"), version_numbers("11.4.0rc1")
    ((10, 3, 0, 26), (8, 6, 1), (11, 4, 0))
    """
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _goes_forward(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    if not old or not new or old[:2] < _FIRST_COMPATIBLE or new < old:
        return False
    return old[0] == new[0] or (old[0], new[0]) in _ACROSS_MAJORS
