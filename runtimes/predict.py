"""Pictures in, label maps and overlays out."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..common.errors import InputError
from ..common.files import existing_path, write_bytes
from ..common.progress import track
from ..data.contract import DEPTH_HEAD, Contract
from ..data.palette import Image8, Palette, default_palette, overlay, palette_png
from ..data.preprocess import decode, preprocess
from .artifact import Artifact
from .depth_picture import Depth, depth_files, depth_from_output
from .labels import labels_from_output
from .open import open_session
from .session import Session
from .upsample_argmax import Labels

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_JPEG_QUALITY = 92
_DEPTH_FILES = ("depth", "depth_values")

Targets = dict[str, Path]  # what a file holds, and where it goes


@dataclass(frozen=True)
class Prediction:
    """The files written for one image, and how long each part took; None where a head is absent."""

    image: Path
    decode_ms: float
    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float
    write_ms: float
    labels: Path | None = None
    overlay: Path | None = None
    depth: Path | None = None
    depth_values: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file written for the image, the one to look at first."""
        written = (self.overlay, self.labels, self.depth, self.depth_values)
        return tuple(path for path in written if path is not None)


def predict(
    source: str | Path | Artifact,
    inputs: Path,
    output: Path,
    *,
    runtime: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    alpha: float = 0.5,
) -> list[Prediction]:
    """Segment an image, or every image of a folder, and write what was seen.

    Per image `<stem>_labels.png` (a palette PNG whose index plane holds the labels, at the
    image's own size) and `<stem>_overlay.jpg`, or `.png` where the image is a PNG. A model with a
    depth head also writes `<stem>_depth.npy` (float32 (H,W) in the data set's unit) and
    `<stem>_depth.png` (dark to light over the contract's `depth_range`); one with only that head
    writes only those.

    Args:
        source: an artifact or a checkpoint.
        inputs: an image file, or a folder (its own images, not those of folders inside).
        output: the folder to write to; made where it does not exist.
        runtime: as in `open_session`, like `precision` and `threads`.
        precision: see `runtime`.
        threads: see `runtime`.
        alpha: opacity of the labels in the overlay, 0 to 1.

    Raises:
        InputError: no image, two images of one stem, an output that would replace an input, or
            an image that cannot be decoded.
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"Expected alpha between 0 and 1, but got {alpha}.")
    images = _find_images(Path(inputs))
    _refuse_file(Path(output))
    with open_session(source, runtime=runtime, precision=precision, threads=threads) as session:
        targets = _targets(images, Path(output), session.contract)
        work = track(zip(images, targets, strict=True), "predict", len(images))
        return [_predict_one(session, image, files, alpha) for image, files in work]


def _predict_one(session: Session, image: Path, files: Targets, alpha: float) -> Prediction:
    contract = session.contract
    marks = [time.perf_counter()]
    picture = decode(image.read_bytes(), str(image))
    marks.append(time.perf_counter())
    pixels = preprocess(picture, contract)
    marks.append(time.perf_counter())
    outputs = session.run(np.repeat(pixels, static_batch(session), axis=0))
    marks.append(time.perf_counter())
    size_px = (picture.shape[0], picture.shape[1])
    head = label_head(contract)
    labels = labels_from_output(outputs[head][:1], contract, size_px)[0] if head else None
    depth = None
    if DEPTH_HEAD in contract.heads:
        depth = depth_from_output(outputs[DEPTH_HEAD][:1], contract, size_px)[0]
    marks.append(time.perf_counter())
    _write(picture, labels, depth, contract, files, alpha)
    marks.append(time.perf_counter())
    decoded, prepared, inferred, finished, stored = (
        1e3 * (end - start) for start, end in zip(marks, marks[1:], strict=False)
    )
    return Prediction(image, decoded, prepared, inferred, finished, stored, **files)


def label_head(contract: Contract) -> str | None:
    """Return the head that gives labels: the segmentation, else the first that is not depth."""
    names = [name for name in contract.heads if name != DEPTH_HEAD]
    return "segmentation" if "segmentation" in names else next(iter(names), None)


def _write(
    picture: Image8,
    labels: Labels | None,
    depth: Depth | None,
    contract: Contract,
    files: Targets,
    alpha: float,
) -> None:
    make_folder(next(iter(files.values())).parent)
    if labels is not None:
        palette: Palette = contract.palette or default_palette(contract.num_classes)
        mixed = files["overlay"]
        write_bytes(files["labels"], palette_png(labels, palette))
        write_bytes(mixed, _encode(overlay(picture, labels, palette, alpha), mixed.suffix))
    if depth is not None:
        for name, data in zip(_DEPTH_FILES, depth_files(depth, contract), strict=True):
            write_bytes(files[name], data)


def make_folder(folder: Path) -> None:
    """Make a folder with those above it, where it does not exist.

    Raises:
        InputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Cannot make the folder {folder}: {error.strerror}. Choose another output folder."
        ) from error


def _encode(picture: Image8, suffix: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    if suffix == ".png":
        Image.fromarray(picture).save(buffer, "PNG")
    else:
        Image.fromarray(picture).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _find_images(inputs: Path) -> tuple[Path, ...]:
    """Return the image file, or the sorted images of the folder."""
    if existing_path(inputs, "an image or a folder of images").is_file():
        return (inputs,)
    found = sorted(path for path in inputs.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise InputError(
            f"Expected images ({', '.join(IMAGE_SUFFIXES)}) in {inputs}, but it holds none."
        )
    return tuple(found)


def _refuse_file(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise InputError(f"Expected a folder to write to, but {output} is a file.")


def _targets(images: Sequence[Path], output: Path, contract: Contract) -> list[Targets]:
    """Return the files of each image by what they hold; refuse what would lose a file."""
    targets = [_files_of(image, output, contract) for image in images]
    taken = {image.resolve(): image for image in images}
    seen: dict[Path, Path] = {}
    for image, files in zip(images, targets, strict=True):
        first = next(iter(files.values()))
        if first in seen:
            raise InputError(
                f"Expected images of different names, but {seen[first].name} and {image.name} "
                f"would both become {first.name}: rename one."
            )
        seen[first] = image
        for file in files.values():
            if file.resolve() in taken:
                raise InputError(
                    f"Expected outputs beside the inputs to have new names, but {file} is an "
                    "input: choose another output folder."
                )
    return targets


def _files_of(image: Path, output: Path, contract: Contract) -> Targets:
    names: Targets = {}
    if label_head(contract):
        suffix = ".png" if image.suffix.lower() == ".png" else ".jpg"
        names["labels"] = output / f"{image.stem}_labels.png"
        names["overlay"] = output / f"{image.stem}_overlay{suffix}"
    if DEPTH_HEAD in contract.heads:
        names["depth"] = output / f"{image.stem}_depth.png"
        names["depth_values"] = output / f"{image.stem}_depth.npy"
    return names


def static_batch(session: Session) -> int:
    """Return the number of images a run takes, 1 where it is free."""
    batch = session.input.shape[0]
    return batch if isinstance(batch, int) else 1
