"""A video or a camera in, what the model sees laid over it out, and how fast that went."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np

from ..common.errors import InputError
from ..common.files import atomic_path, probe_writable
from ..common.progress import track
from ..data.contract import DEPTH_HEAD, Contract
from ..data.palette import Image8, default_palette, overlay
from ..data.preprocess import preprocess
from .artifact import Artifact
from .depth_picture import depth_from_output, depth_picture
from .labels import labels_from_output
from .open import open_session
from .predict import label_head, make_folder, static_batch
from .session import Array, Session
from .video_file import (
    OUTPUT_SUFFIXES,
    VIDEO_SUFFIXES,
    VideoFrame,
    VideoReader,
    VideoWriter,
    is_camera,
    writing,
)

PARTS = ("decode", "preprocess", "network", "labels", "encode")


@dataclass
class VideoRun:
    """The file written, its frames, and where the time went, in milliseconds per frame."""

    path: Path
    frames: int = 0
    wall_s: float = 0.0
    parts_ms: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PARTS})
    interrupted: bool = False

    @property
    def frames_per_s(self) -> float:
        """Frames by the clock on the wall, everything included but opening model and files."""
        return self.frames / self.wall_s if self.wall_s else 0.0

    def words(self) -> str:
        """Return the rate and the median of each part in one line."""
        parts = ", ".join(f"{name} {median(self.parts_ms[name]):.1f}" for name in PARTS)
        return (
            f"{self.frames} frames in {self.wall_s:.1f} s: {self.frames_per_s:.1f} frames/s; "
            f"medians in ms: {parts}"
        )


def predict_video(
    source: str | Path | Artifact,
    video: str | Path,
    output: Path,
    *,
    runtime: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    alpha: float = 0.5,
    limit: int | None = None,
) -> VideoRun:
    """Write a video with the labels over each frame, its depth at the right where there is one.

    The output appears when it is whole. Ctrl-C on a file leaves none; on a camera it ends the
    recording and keeps it. Sound is left out.

    Args:
        source: an artifact or a checkpoint.
        video: a video file, or "camera:N".
        output: a file in .mp4, .mkv or .mov, or a folder for `<stem>_overlay.mp4`.
        runtime: as in `open_session`, like `precision` and `threads`.
        precision: see `runtime`.
        threads: see `runtime`.
        alpha: opacity of the labels, 0 to 1.
        limit: stop after so many frames.

    Raises:
        InputError: no such video, it is damaged, or the output cannot be written.
        MissingDependencyError: PyAV is not installed.
    """
    target = _target(video, Path(output))
    with VideoReader(video) as reader:
        if target.parent.exists() or target == Path(output):
            probe_writable(target)
        found = open_session(source, runtime=runtime, precision=precision, threads=threads)
        with contextlib.ExitStack() as stack:
            session = stack.enter_context(found)
            if target != Path(output):
                make_folder(target.parent)
            path = stack.enter_context(atomic_path(target))
            writer = stack.enter_context(writing(path, reader.rate))
            run = VideoRun(target)
            frames = islice(reader.frames(), limit)
            count = min(reader.count or limit or 0, limit or reader.count or 0) or None
            start = time.perf_counter()
            try:
                _all(session, track(frames, "predict", count), writer, alpha, run)
            except KeyboardInterrupt:
                if not (is_camera(video) and run.frames):
                    raise
                run.interrupted = True
            writer.close()  # what the encoder still holds is part of the work
            run.wall_s = time.perf_counter() - start
    return run


def _all(
    session: Session, frames: Iterator[VideoFrame], writer: VideoWriter, alpha: float, run: VideoRun
) -> None:
    while True:
        marks = [time.perf_counter()]
        frame = next(frames, None)
        if frame is None:
            break
        marks.append(time.perf_counter())
        pixels = preprocess(frame.picture, session.contract)
        marks.append(time.perf_counter())
        outputs = session.run(np.repeat(pixels, static_batch(session), axis=0))
        marks.append(time.perf_counter())
        picture = drawn(frame.picture, outputs, session.contract, alpha)
        marks.append(time.perf_counter())
        writer.write(VideoFrame(picture, frame.time_s))
        marks.append(time.perf_counter())
        for name, begin, end in zip(PARTS, marks, marks[1:], strict=False):
            run.parts_ms[name].append(1e3 * (end - begin))
        run.frames += 1


def drawn(picture: Image8, outputs: dict[str, Array], contract: Contract, alpha: float) -> Image8:
    """Return the frame (H,W,3) with its labels over it, and depth (H,W,3) at the right of it."""
    size_px = (picture.shape[0], picture.shape[1])
    head, panels = label_head(contract), []
    if head:
        labels = labels_from_output(outputs[head][:1], contract, size_px)[0]
        palette = contract.palette or default_palette(contract.num_classes)
        panels.append(overlay(picture, labels, palette, alpha))
    if DEPTH_HEAD in contract.heads:
        depth = depth_from_output(outputs[DEPTH_HEAD][:1], contract, size_px)[0]
        panels += (
            [depth_picture(depth, contract)] if head else [picture, depth_picture(depth, contract)]
        )
    return np.concatenate(panels, axis=1)


def _target(video: str | Path, output: Path) -> Path:
    if output.suffix.lower() not in OUTPUT_SUFFIXES:
        video_name = output.suffix.lower() in VIDEO_SUFFIXES and not output.is_dir()
        if video_name or (output.exists() and not output.is_dir()):
            raise InputError(
                f"Expected a folder or a file in {', '.join(OUTPUT_SUFFIXES)}, but got {output}."
            )
        stem = str(video).replace(":", "") if is_camera(video) else Path(video).stem
        output = output / f"{stem}_overlay.mp4"
    if not is_camera(video) and output.resolve() == Path(video).resolve():
        raise InputError(f"Expected another file than the input, but got {output}: choose another.")
    return output
