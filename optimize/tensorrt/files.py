"""An engine and its sidecar on disk: both whole, or neither."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ...common.files import atomic_path, write_text
from ...runtimes.tensorrt.sidecar import EngineInfo, sidecar_path, write_sidecar


def write_engine(target: Path, data: bytes, info: EngineInfo) -> None:
    """Write a plan and its sidecar so that a crash leaves no engine without one.

    The plan is written whole under a temporary name; then the sidecar gets its name, then the
    plan. A crash between the two leaves the new sidecar beside no engine or the old one, and both
    are refused by `check_engine`. A failure puts the old sidecar back.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    beside = sidecar_path(target)
    old = beside.read_text(encoding="utf-8") if beside.is_file() else None
    try:
        with atomic_path(target) as temporary:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # the name must not arrive before the bytes
            write_sidecar(target, info)
    except BaseException:
        _restore(beside, old)
        raise


def _restore(beside: Path, old: str | None) -> None:
    with contextlib.suppress(OSError):
        if old is None:
            beside.unlink(missing_ok=True)
        else:
            write_text(beside, old)
