"""How far apart are copies, neighbouring frames and unrelated images in the look hash?

    python benchmarks/near_duplicates.py --ours camvid:PATH@train --theirs camvid:PATH@val

Prints the Hamming distances that `NEAR_BITS` in calibration/fingerprint.py was chosen from: of
every image of THEIRS to altered copies of itself, to the nearest other image of THEIRS and to the
nearest of OURS.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from segship.calibration.fingerprint import HASH_BITS, NEAR_BITS, difference_hash
from segship.data.spec import open_dataset

Picture = Image.Image
Bits = NDArray[np.bool_]


@click.command()
@click.option("--ours", required=True, help="Data specification of the calibration images.")
@click.option("--theirs", required=True, help="Data specification of the evaluation images.")
def main(ours: str, theirs: str) -> None:
    """Print quantiles of distances, in bits."""
    left, right = pictures(ours), pictures(theirs)
    looks, others = bits_of(left), bits_of(right)
    show("nearest of the other data", distances(others, looks).min(axis=1))
    among = distances(others, others)
    np.fill_diagonal(among, HASH_BITS)
    show("nearest in the same data", among.min(axis=1))
    for name, change in CHANGES.items():
        altered = bits_of([change(picture) for picture in right])
        show(f"copy, {name}", (altered != others).sum(axis=1))
    click.echo(f"refused at {NEAR_BITS} of {HASH_BITS} bits or fewer")


def pictures(spec: str) -> list[Picture]:
    """Return every image of a data set."""
    dataset = open_dataset(spec)
    return [Image.fromarray(dataset.sample(index).image) for index in range(len(dataset))]


def bits_of(images: list[Picture]) -> Bits:
    """Return the hashes (N,HASH_BITS)."""
    return np.array([difference_hash(np.asarray(image)) for image in images])


def distances(first: Bits, second: Bits) -> NDArray[np.int64]:
    """Return the Hamming distances (N,M)."""
    return np.array([(row != second).sum(axis=1) for row in first])


def show(name: str, values: NDArray[np.int64]) -> None:
    """Print the least, the median and the greatest."""
    low, middle, high = np.percentile(values, [0, 50, 100])
    click.echo(f"{name:32} least {low:4.0f}  median {middle:4.0f}  greatest {high:4.0f}")


def encoded(picture: Picture, quality: int) -> Picture:
    """Return the picture after JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def resized(picture: Picture, factor: float) -> Picture:
    """Return the picture at another size."""
    return picture.resize((round(picture.width * factor), round(picture.height * factor)))


def cropped(picture: Picture, share: float) -> Picture:
    """Return the picture without `share` of its sides."""
    x, y = round(picture.width * share), round(picture.height * share)
    return picture.crop((x, y, picture.width - x, picture.height - y))


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "JPEG 10": lambda picture: encoded(picture, 10),
    "JPEG 75": lambda picture: encoded(picture, 75),
    "quarter": lambda picture: resized(picture, 0.25),
    "half": lambda picture: resized(picture, 0.5),
    "double": lambda picture: resized(picture, 2),
    "square 512": lambda picture: picture.resize((512, 512)),
    "brightness 0.5": lambda picture: ImageEnhance.Brightness(picture).enhance(0.5),
    "brightness 1.5": lambda picture: ImageEnhance.Brightness(picture).enhance(1.5),
    "contrast 0.7": lambda picture: ImageEnhance.Contrast(picture).enhance(0.7),
    "contrast 1.3": lambda picture: ImageEnhance.Contrast(picture).enhance(1.3),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "crop 1 %": lambda picture: cropped(picture, 0.01),
    "crop 3 %": lambda picture: cropped(picture, 0.03),
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


if __name__ == "__main__":
    main()
