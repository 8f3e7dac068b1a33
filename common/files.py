"""Files that are either whole or absent, and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError

_CHUNK_BYTES = 1 << 20


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` that replaces it when the block succeeds.

    On any exception the temporary file is removed and `target` stays as it was.

    Raises:
        InputError: the folder does not exist or cannot be written, or the disk is full.
    """
    target = Path(target)
    temporary = _temporary_beside(target)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(_cannot_write(target, error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def probe_writable(target: Path) -> None:
    """Refuse a target that could not be written later; `target` itself is not touched.

    Raises:
        InputError: as `atomic_path`.
    """
    _temporary_beside(Path(target)).unlink()


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target` that replaces it when the block succeeds.

    Raises:
        InputError: `target` exists and is not an empty folder, or cannot be written.
    """
    target = Path(target)
    temporary = _folder_beside(target)
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if target.exists():
            target.rmdir()
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(_cannot_write(target, error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def probe_new_folder(target: Path) -> None:
    """Refuse a folder that could not be made later; `target` itself is not touched.

    Raises:
        InputError: as `atomic_folder`.
    """
    _folder_beside(Path(target)).rmdir()


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8 to `target`, whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(target: Path, data: bytes) -> None:
    """Write `data` to `target`, whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_folder(folder: Path, names: list[str]) -> str:
    """Return one SHA-256 over the named files of `folder`, names included, in sorted order."""
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\0{sha256_file(folder / name)}\n".encode())
    return digest.hexdigest()


def existing_path(path: str | Path, what: str) -> Path:
    """Return `path` as a Path, or raise the one error a missing path gives."""
    found = Path(path)
    if not found.exists():
        raise InputError(f"Expected {what}, but {found} does not exist: check the path.")
    return found


def _temporary_beside(target: Path) -> Path:
    """Create an empty file with a name of its own in the folder of `target`."""
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise InputError(
            f"Expected a file to write, but {target} is a device or a pipe, which a file would "
            "replace: name another."
        )
    if not target.parent.is_dir():
        raise InputError(
            f"Expected the folder of {target} to exist, but {target.parent} does not: "
            "create it or choose another output path."
        )
    if target.is_dir():
        raise InputError(f"Expected a file name to write, but {target} is a directory.")
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=f".tmp{target.suffix}", dir=target.parent
        )
    except OSError as error:
        raise InputError(_cannot_write(target, error)) from error
    os.close(handle)
    return Path(name)


def _folder_beside(target: Path) -> Path:
    """Create an empty folder with a name of its own beside `target`, which must be new or empty."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"Expected a new or empty folder, but {target} exists: remove it first.")
    if not target.parent.is_dir():
        raise InputError(f"Expected {target.parent} to exist: create it or choose another path.")
    try:
        return Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InputError(_cannot_write(target, error)) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _cannot_write(target: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"Cannot write {target}: {reason}. Free space or choose another output path."
