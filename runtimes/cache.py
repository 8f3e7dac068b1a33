"""Where segship keeps what would cost minutes to make again: the user's cache folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..common.errors import InputError


def cache_root() -> Path:
    """Return segship's folder in the user's cache; nothing is created."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root) / "segship"


def cache_folder(name: str, *key: str) -> Path:
    """Return the folder for what `key` decides (hashes, versions), created if new.

    Raises:
        InputError: it cannot be created.
    """
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:32]
    folder = cache_root() / name / digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Cannot create {folder}: {error.strerror or error}. Free space, or set XDG_CACHE_HOME."
        ) from error
    return folder
