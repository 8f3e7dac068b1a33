"""What a data set's folder holds: splits chosen by name, layouts refused with what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from ..common.errors import InputError

_LISTED = 8  # names of a folder that an error message shows


def choose_split(split: str | None, splits: Sequence[str], root: Path) -> str:
    """Return `split` where it exists.

    Raises:
        InputError: it does not, or none is named (lists those that exist).
    """
    if split in splits and split is not None:
        return split
    listed = ", ".join(splits) or "none (is this the format's layout?)"
    came = f"there is no split {split!r}" if split else "no split is named"
    raise InputError(f"Expected a split of {root} after '@', but {came}: it has {listed}.")


def subfolders(folder: Path) -> list[str]:
    """Return the names of the visible folders in `folder`, sorted; none where it is missing."""
    if not folder.is_dir():
        return []
    return sorted(
        item.name for item in folder.iterdir() if item.is_dir() and not item.name.startswith(".")
    )


def wrong_layout(what: str, layouts: Sequence[str], root: Path, hint: str = "") -> InputError:
    """Return the error for a folder that has none of the `layouts`."""
    return InputError(
        f"Expected {what} as {' or '.join(layouts)} in {root}, but it holds {_held(root)}: "
        f"{hint or 'check the path'}."
    )


def find_listed(entry: str, root: Path) -> Path | None:
    """Return the file a list names, which may have been written on another machine.

    Of `/somewhere/else/train/x.png` the longest end that exists below `root` is taken.
    """
    parts = [part for part in PureWindowsPath(entry).parts if part not in ("/", "\\", ".")]
    if not parts:
        return None
    whole = Path(entry).expanduser()
    if whole.is_absolute() and whole.is_file():
        return whole
    for start in range(len(parts)):
        file = root.joinpath(*parts[start:])
        if file.is_file():
            return file
    return None


def _held(root: Path) -> str:
    names = sorted(
        item.name + ("/" if item.is_dir() else "")
        for item in root.iterdir()
        if not item.name.startswith(".")
    )
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) + more) or "nothing"
