"""Which mask belongs to which image, by file name; every leftover is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..common.errors import InputError
from .dataset import FilePair
from .masks import LOSSY_SUFFIXES, MASK_SUFFIXES, lossy_mask

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
MASK_ENDINGS = ("_mask", "_label", "_labels", "_seg", "_gt", "_annotation", "_l", "-mask")


def pair_files(images: Path, masks: Path) -> list[FilePair]:
    """Pair every image below `images` with its mask below `masks`, sorted by name.

    Stems match within the same sub-folder, or the mask's stem has one of MASK_ENDINGS more.

    Raises:
        InputError: a lossy mask, an image without mask or a mask without image, or two files
            for one name (names the file).
    """
    image_files = _by_stem(images, _listed(images, IMAGE_SUFFIXES), "image")
    mask_files = _by_stem(masks, _mask_files(masks), "mask")
    owners = {stem: _owner(stem, image_files) for stem in mask_files}
    found: dict[str, Path] = {}
    for stem, owner in owners.items():
        if owner is None:
            raise InputError(
                f"Expected an image for every mask, but {mask_files[stem]} has none in {images}: "
                "add the image or remove the mask."
            )
        if owner in found:
            raise _two("mask", found[owner], mask_files[stem])
        found[owner] = mask_files[stem]
    for stem, image in image_files.items():
        if stem not in found:
            raise InputError(
                f"Expected a mask for every image, but {image} has none in {masks}: add "
                f"{stem}.png there or remove the image."
            )
    return [FilePair(stem, image_files[stem], found[stem]) for stem in sorted(image_files)]


def has_images(folder: Path) -> bool:
    """Say whether `folder` itself holds an image file."""
    return folder.is_dir() and any(
        item.suffix.lower() in IMAGE_SUFFIXES and _visible(item.name) for item in folder.iterdir()
    )


def _mask_files(folder: Path) -> list[Path]:
    files = _listed(folder, (*MASK_SUFFIXES, *LOSSY_SUFFIXES))
    for file in files:
        if file.suffix.lower() in LOSSY_SUFFIXES:
            raise lossy_mask(file)
    return files


def _owner(stem: str, images: dict[str, Path]) -> str | None:
    """Return the image stem a mask stem belongs to."""
    if stem in images:
        return stem
    for ending in MASK_ENDINGS:
        if stem.lower().endswith(ending) and stem[: -len(ending)] in images:
            return stem[: -len(ending)]
    return None


def _listed(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the visible files below `folder` with one of the suffixes, in any case, sorted."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in suffixes
        and all(_visible(part) for part in file.relative_to(folder).parts)
        and file.is_file()
    )


def _by_stem(folder: Path, files: Iterable[Path], what: str) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for file in files:
        stem = file.relative_to(folder).with_suffix("").as_posix()
        if stem in named:
            raise _two(what, named[stem], file)
        named[stem] = file
    return named


def _two(what: str, first: Path, second: Path) -> InputError:
    return InputError(
        f"Expected one {what} per name, but {first} and {second} have the same: remove one."
    )


def _visible(name: str) -> bool:
    return not name.startswith(".")
