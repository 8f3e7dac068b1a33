"""Two NumPy arrays, images (N,H,W,3) and labels (N,H,W), whole or as the seed's random split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..common.errors import InputError
from .array_file import as_image, as_labels, open_array, png_of
from .contract import Contract
from .dataset import Dataset, Sample, digest_files, refuse_out_of_range
from .label_table import ignore_values
from .layout import choose_split, wrong_layout
from .palette import default_palette
from .palette_file import find_palette_file, named_classes

SPLIT_SHARES = {"train": 0.7, "val": 0.2, "test": 0.1}
_SEED = 1


class Arrays(Dataset):
    """Samples of image*.npy and label*.npy in one folder, memory-mapped.

    A named split is the one torch's `random_split` makes of 70/20/10 % with seed 1, in its order.
    Negative labels are ignored. `image_bytes` encodes a PNG, the files hold none.
    """

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        *,
        name: str = "arrays",
        contract: Contract | None = None,
    ) -> None:
        """Open the arrays.

        Raises:
            InputError: not one of each, arrays of other shapes or types, or no such split.
        """
        self.name, self.root, self.split = name, root, split
        self.files = (_only(root, "image"), _only(root, "label"))
        self.images, self.labels = open_array(self.files[0]), open_array(self.files[1])
        _check_shapes(self.images, self.labels, self.files)
        self.indices: Sequence[int] = range(len(self.images))
        if split is not None:
            choose_split(split, list(SPLIT_SHARES), root)
            self.indices = random_split(len(self.images))[split]
            share = round(100 * SPLIT_SHARES[split])
            self.notes = (f"{split}: {share} % of {len(self.images)}, torch random_split, seed 1",)
        stated = find_palette_file(root)
        self.classes, self.palette, self.ignore_index = named_classes(stated, contract)
        self.ignored = stated.ignored if stated else ()
        self.extra_files = (stated.path,) if stated else ()
        if len(self.palette) != len(self.classes):
            self.palette = default_palette(len(self.classes))

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.indices)

    def sample(self, index: int) -> Sample:
        """Return sample number `index`, copied from the mapped files."""
        place = self.indices[index]
        image = as_image(self.images[place], f"{self.files[0]}[{place}]")
        labels = as_labels(self.labels[place], self.ignore_index, f"{self.files[1]}[{place}]")
        labels = ignore_values(labels, self.ignored, self.ignore_index)
        refuse_out_of_range(labels, len(self.classes), self.ignore_index, self.files[1], place)
        return Sample(f"{place:05d}", None, image, labels)

    def image_bytes(self, index: int) -> bytes:
        """Return the image of sample number `index` encoded as PNG."""
        return png_of(self.sample(index).image)

    def digest(self) -> str:
        """Return the SHA-256 over the files and the split."""
        digest = digest_files(self.root, (*self.files, *self.extra_files))
        digest.update(f"{self.split}\n".encode())
        return digest.hexdigest()


def random_split(count: int) -> dict[str, list[int]]:
    """Return the samples of each split as `torch.utils.data.random_split` deals them.

    The shares are rounded down and what is left goes to the splits one by one from the first.
    """
    import torch

    lengths = [math.floor(count * share) for share in SPLIT_SHARES.values()]
    for extra in range(count - sum(lengths)):
        lengths[extra % len(lengths)] += 1
    order: list[int] = torch.randperm(
        count, generator=torch.Generator().manual_seed(_SEED)
    ).tolist()
    ends = [sum(lengths[: place + 1]) for place in range(len(lengths))]
    return {
        split: order[end - length : end]
        for split, end, length in zip(SPLIT_SHARES, ends, lengths, strict=True)
    }


def _only(root: Path, start: str) -> Path:
    """Return the one array of `root` whose name begins with `start`."""
    found = sorted(root.glob(f"{start}*.npy"))
    if len(found) != 1:
        layouts = ["one image*.npy (N,H,W,3) and one label*.npy (N,H,W)"]
        hint = f"there are {len(found)} files {start}*.npy" if found else ""
        raise wrong_layout("arrays", layouts, root, hint)
    return found[0]


def _check_shapes(images: NDArray[Any], labels: NDArray[Any], files: tuple[Path, Path]) -> None:
    """Refuse arrays that no sample can come from."""
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != "uint8" or not len(images):
        raise InputError(
            f"Expected images (N,H,W,3) of uint8, but {files[0]} has {images.shape} of "
            f"{images.dtype}: save RGB images with the channels last."
        )
    if labels.shape[:3] != images.shape[:3] or labels.shape[3:] not in ((), (1,)):
        raise InputError(
            f"Expected labels {images.shape[:3]} as the images have, but {files[1]} has "
            f"{labels.shape}: save one label map per image."
        )
