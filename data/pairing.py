"""Which mask belongs to which image, by file name; every leftover is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..common.errors import InputError
from .dataset import FilePair
from .masks import LOSSY_SUFFIXES, MASK_SUFFIXES, lossy_mask

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
MASK_ENDINGS = tuple("_mask _label _labels _seg _gt _annotation _l -mask _depth".split())


def pair_files(
    images: Path,
    masks: Path,
    *,
    image_suffixes: Sequence[str] = IMAGE_SUFFIXES,
    mask_suffixes: Sequence[str] | None = None,
    what: str = "mask",
) -> list[FilePair]:
    """Pair every image below `images` with its mask below `masks`, sorted by name.

    Stems match within the same sub-folder, or the mask's stem has one of MASK_ENDINGS more.
    `mask_suffixes` and `what` are for other files than masks (depth maps, arrays).

    Raises:
        InputError: a lossy mask, an image without mask or a mask without image, or two files
            for one name (names the file).
    """
    image_files = _by_stem(images, _listed(images, image_suffixes), "image")
    listed = _listed(masks, mask_suffixes) if mask_suffixes else _mask_files(masks)
    mask_files = _by_stem(masks, listed, what)
    owners = {stem: mask_owner(stem, image_files) for stem in mask_files}
    found: dict[str, Path] = {}
    for stem, owner in owners.items():
        if owner is None:
            raise InputError(
                f"Expected an image for every {what}, but {mask_files[stem]} has none in {images}: "
                f"add the image or remove the {what}."
            )
        if owner in found:
            raise _two(what, found[owner], mask_files[stem])
        found[owner] = mask_files[stem]
    for stem, image in image_files.items():
        if stem not in found:
            raise InputError(
                f"Expected a {what} for every image, but {image} has none in {masks}: add "
                f"{stem}{(mask_suffixes or MASK_SUFFIXES)[0]} there or remove the image."
            )
    return [FilePair(stem, image_files[stem], found[stem]) for stem in sorted(image_files)]


def pair_by_ending(
    images: Path, masks: Path, mask_ending: str, *, image_ending: str = ""
) -> list[FilePair]:
    """Pair every image below `images` with the one mask its name implies, sorted by name.

    x + `image_ending` + any suffix goes with x + `mask_ending` (with its suffix) in the same
    sub-folder of `masks`; other files there are left alone.

    Raises:
        InputError: an image without its mask or of another ending, two images for one name.
    """
    pairs = []
    for stem, image in sorted(_by_stem(images, _listed(images, IMAGE_SUFFIXES), "image").items()):
        if not stem.endswith(image_ending):
            raise InputError(
                f"Expected image names that end in {image_ending!r}, but got {image}: remove it."
            )
        name = stem[: len(stem) - len(image_ending)]
        mask = masks / f"{name}{mask_ending}"
        if not mask.is_file():
            raise InputError(
                f"Expected a mask for every image, but {image} has none in {masks}: add "
                f"{name}{mask_ending} there or remove the image."
            )
        pairs.append(FilePair(name, image, mask))
    return pairs


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


def mask_owner(stem: str, images: dict[str, Path]) -> str | None:
    """Return the image stem a mask stem belongs to, None where there is none."""
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
