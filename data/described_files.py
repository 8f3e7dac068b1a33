"""Which files a description means: globs, pairs by stem or by a regular expression, splits."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from ..common.errors import InputError
from .dataset import FilePair
from .description import Description
from .layout import choose_split, find_listed
from .pairing import mask_owner

Key = Callable[[Path], str]
_SPLIT = "{split}"


def described_pairs(described: Description, split: str | None) -> list[FilePair]:
    """Return the pairs of `split` in the order of their names, or of the split's list.

    Raises:
        InputError: no such split, a glob that finds nothing, images without labels or depth,
            labels without an image, or a list that names unknown images.
    """
    _check_split(described, split)
    images = _found(described, "images", described.images, split)
    keys = _keyed(described, "images", images, _key(described, images))
    labels = _matched(described, "labels", described.labels, keys, split)
    depths = _matched(described, "depth", described.depth, keys, split)
    pairs = [
        FilePair(key, image, labels.get(key), depths.get(key))
        for key, image in sorted(keys.items())
    ]
    listed = dict(described.splits).get(split or "")
    chosen = pairs if listed is None else _listed(described, split or "", listed, pairs)
    for pair in chosen:
        for what, glob in (("mask", described.labels), ("depth", described.depth)):
            if glob is not None and getattr(pair, what) is None:
                raise InputError(
                    f"{described.path}: expected a {what} for every image, but {pair.image} has "
                    f"none in {glob!r}: add it, or correct 'match'."
                )
    return chosen


def _check_split(described: Description, split: str | None) -> None:
    """Refuse a split that is needed and missing, or stated and unknown."""
    names = [name for name, _ in described.splits]
    globs = [item for item in (described.images, described.labels, described.depth) if item]
    if names:
        choose_split(split, names, described.path)
    elif any(_SPLIT in glob for glob in globs) != (split is not None):
        need = "no split, for the file has none" if split else "a split after '@' for {split}"
        raise InputError(f"{described.path}: expected {need}, but got {split!r}.")


def _found(described: Description, key: str, glob: str, split: str | None) -> list[Path]:
    """Return the visible files of a glob below the root, sorted."""
    pattern = glob.replace(_SPLIT, split or "")
    try:
        files = sorted(
            file
            for file in described.root.glob(pattern)
            if file.is_file() and not file.name.startswith(".")
        )
    except (NotImplementedError, ValueError, IndexError) as error:
        raise InputError(
            f"{described.path}, {key}: expected a glob below root, but got {pattern!r} ({error})."
        ) from error
    if not files:
        raise InputError(
            f"{described.path}, {key}: expected files, but {pattern!r} finds none in "
            f"{described.root}: correct the glob or the root."
        )
    return files


def _key(described: Description, images: Sequence[Path]) -> Key:
    """Return what names a file: its stem, its path where stems repeat, or the `match` groups."""
    if described.match is None:
        repeated = len({file.stem for file in images}) != len(images)
        return (lambda file: _relative_stem(described, file)) if repeated else _stem
    try:
        pattern = re.compile(described.match)
    except re.error as error:
        raise InputError(
            f"{described.path}, match: expected a regular expression, but got "
            f"{described.match!r} ({error})."
        ) from error

    def by_pattern(file: Path) -> str:
        relative = file.relative_to(described.root).as_posix()
        found = pattern.search(relative)
        if found is None:
            raise InputError(
                f"{described.path}, match: expected {described.match!r} in every path, but "
                f"{relative} has no match."
            )
        return "-".join(part or "" for part in found.groups()) or found.group()

    return by_pattern


def _keyed(described: Description, what: str, files: Sequence[Path], key: Key) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for file in files:
        name = key(file)
        if name in named:
            raise InputError(
                f"{described.path}, {what}: expected one file per name, but {named[name]} and "
                f"{file} are both {name!r}: make 'match' tell them apart."
            )
        named[name] = file
    return named


def _matched(
    described: Description,
    what: str,
    glob: str | None,
    images: dict[str, Path],
    split: str | None,
) -> dict[str, Path]:
    """Return the files of `glob` by the name of their image; those of no image are refused."""
    if glob is None:
        return {}
    files = _found(described, what, glob, split)
    named = _keyed(described, what, files, _key(described, list(images.values())))
    owned: dict[str, Path] = {}
    for name, file in named.items():
        owner = name if described.match else mask_owner(name, images)
        if owner not in images or owner is None:
            raise InputError(
                f"{described.path}, {what}: expected an image for every file, but {file} has "
                f"none: correct the globs, or add 'match'."
            )
        owned[owner] = file
    return owned


def _listed(
    described: Description, split: str, listed: tuple[str, ...] | str, pairs: Sequence[FilePair]
) -> list[FilePair]:
    """Return the pairs that a split lists, in its order."""
    where, entries = f"{described.path}, splits, {split}", listed
    if isinstance(entries, str):
        file = find_listed(entries, described.root)
        if file is None:
            raise InputError(f"{where}: expected a text file, but {entries} is not there.")
        where, entries = str(file), tuple(file.read_text("utf-8", "replace").splitlines())
    known = _by_ends(described, pairs)
    chosen = []
    for entry in (item.strip() for item in entries):
        if not entry or entry.startswith("#"):
            continue
        found = _pair_of(entry, known) or _pair_of(entry.split()[0], known)
        if found is None:
            raise InputError(
                f"{where}: expected names of images that {described.images!r} finds, each for one "
                f"image only, but got {entry!r}."
            )
        chosen.append(found)
    if not chosen:
        raise InputError(f"{where}: expected images, but it lists none.")
    return chosen


def _by_ends(described: Description, pairs: Sequence[FilePair]) -> dict[str, FilePair | None]:
    """Return the pair of every end of every image's path, None where two images share the end."""
    known: dict[str, FilePair | None] = {}
    for pair in pairs:
        parts = pair.image.relative_to(described.root).with_suffix("").parts
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            known[end] = None if end in known else pair
    return known


def _pair_of(entry: str, known: dict[str, FilePair | None]) -> FilePair | None:
    """Return the pair of the longest end of a listed path, with or without its suffix."""
    path = PurePosixPath(entry.replace("\\", "/"))
    for name in (path, path.with_suffix("") if path.name else path):
        for start in range(len(name.parts)):
            pair = known.get("/".join(name.parts[start:]))
            if pair is not None:
                return pair
    return None


def _stem(file: Path) -> str:
    return file.stem


def _relative_stem(described: Description, file: Path) -> str:
    """Return the path below its first folder under the root, without suffix."""
    relative = file.relative_to(described.root).with_suffix("")
    return "/".join(relative.parts[1:] or relative.parts)
